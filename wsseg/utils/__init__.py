"""What all other packages use (errors, files, processes, maps); imports none of them."""
