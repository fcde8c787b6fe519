"""What the disk is told before rows are needed: mapped files, threads that wait for it, and how much memory is free."""
