"""Write-ahead log and the thread that writes it to the store."""
