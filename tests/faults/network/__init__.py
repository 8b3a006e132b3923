"""Downloads over a network that fails: the real trust child, through a proxy, at the real server or one that lies."""
