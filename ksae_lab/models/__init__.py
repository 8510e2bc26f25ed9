"""Networks, sparse autoencoders and their neighbours, all to one contract."""
