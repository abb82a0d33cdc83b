package store

import (
	"fmt"
	"time"

	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/uuid"
)

// An ID names a session. It has the layout of a UUIDv7 (RFC 9562, section
// 5.7): 48 bits of Unix milliseconds, the time of its birth, then random bits.
// IDs therefore sort by age, and the bytewise smaller one is the older one.
//
// An ID is not a secret: what a client presents is a token, an ID with a MAC.
// The zero ID names no session.
type ID [16]byte

// String returns the ID in the usual form of a UUID, 36 characters.
func (id ID) String() string { return uuid.Format(id) }

// ParseID reads what [ID.String] writes. It returns the zero ID and an error for
// anything else.
func ParseID(s string) (ID, error) {
	id, ok := uuid.Parse(s)
	if !ok {
		return ID{}, fmt.Errorf("revisit: %q is not an ID", s)
	}
	return id, nil
}

// Time returns the time of birth that the ID carries, in UTC, to the
// millisecond.
func (id ID) Time() time.Time { return millis.Time(uuid.Millis(id)) }

// IsZero reports whether the ID names no session.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText returns the form of [ID.String].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of [ID.String].
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
