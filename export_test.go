package revisit

import "encoding/binary"

// KeyOf computes what a likeness is kept under, as anybody could who has the salt.
func KeyOf(secret []byte, signals ...string) ID {
	b := []byte{1}
	for _, s := range signals {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return keyOf((*salt)(secret), b)
}

// SaltsInMemory returns the salts that a Tracker has in hand.
func SaltsInMemory(t *Tracker) (all []string) {
	t.ledger.saltsMu.Lock()
	defer t.ledger.saltsMu.Unlock()
	for _, s := range t.ledger.salts {
		for _, salt := range []*salt{s.current, s.previous} {
			if salt != nil {
				all = append(all, string(salt[:]))
			}
		}
	}
	return all
}
