"""How far annotators agree, and how precise the methods are by their labels."""
