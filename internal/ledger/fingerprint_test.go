package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/revisit-go/revisit/internal/uuid"
)

// What is kept in stores: another form, and nobody is recognised for a day after an
// update.
func TestGoldenFingerprint(t *testing.T) {
	var s salt
	for i := range s {
		s[i] = byte(i)
	}
	k := NewFingerprint("fingerprint", time.Hour, "example.com", "\xc6\x33\x64\x07", "Mozilla/5.0", "de", "", "")
	assert.Equal(t, "\x01\x00\x00\x00\x0bexample.com\x00\x00\x00\x04\xc6\x33\x64\x07\x00\x00\x00\x0bMozilla/5.0\x00\x00\x00\x02de\x00\x00\x00\x00\x00\x00\x00\x00", string(k.signals))
	id := keyOf(&s, k.signals)
	assert.Equal(t, "663d132a-63a5-8ea9-94c0-e6f519627b43", id.String())
	assert.True(t, uuid.IsDerived(id))
	assert.Equal(t, "48a8febc-c667-815e-a000-b21105441b15", saltID("fingerprint", 24*time.Hour, 20779).String())
	assert.NotEqual(t, saltID("fingerprint", 24*time.Hour, 1), saltID("fingerprint", 12*time.Hour, 1))
	assert.NotEqual(t, saltID("fingerprint", 24*time.Hour, 1), saltID("account", 24*time.Hour, 1))
	assert.Equal(t, time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), endOf(24*time.Hour, 20779))
}
