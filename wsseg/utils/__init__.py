"""What every part stands on: errors, files, processes, randomness; imports nothing of wsseg."""
