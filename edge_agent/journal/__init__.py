"""agent.db: the one SQLite file and its one writer thread; whatever must outlive a power cut goes through here."""
