"""What the ledger tells about the past and the time to come; reads all rooms below and moves no money."""
