"""What readers ask of a worker: jobs in the catalogue, claiming them, answering them."""
