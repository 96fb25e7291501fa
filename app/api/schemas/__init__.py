"""What the API answers, field by field: every answer is checked against these models before it is sent."""
