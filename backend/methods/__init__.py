"""Attribution methods: one file a method, one protocol, one registry. README.md has the formulas."""
