"""Stages that turn inputs into artifacts, in order, resumably; and the demonstration, which is a list of them."""
