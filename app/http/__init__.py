"""What every page shares: security headers, CSRF, errors, rendering, parameters, formats."""
