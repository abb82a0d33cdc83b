package revisit

// SaltsInMemory returns the salts that a Tracker has in hand.
func SaltsInMemory(t *Tracker) []string { return t.ledger.SaltsInMemory() }
