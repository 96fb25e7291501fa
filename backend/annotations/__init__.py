"""What people say of passages: annotations with their history, pools to judge blind, exports and imports."""
