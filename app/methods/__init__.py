"""The page that says which method to believe on this corpus."""
