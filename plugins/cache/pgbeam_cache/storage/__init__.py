"""Where replies are: in this process, on the disk or in Redis; and the table of versions that workers share."""
