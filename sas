sv=1&sig=file
