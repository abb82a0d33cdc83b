package revisit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What is kept in stores: another form, and nobody is recognised for a day after an
// update.
func TestGoldenLikeness(t *testing.T) {
	var s salt
	for i := range s {
		s[i] = byte(i)
	}
	v := &Visit{tracker: &Tracker{names: []string{"fingerprint"}}, permission: Recognise, request: ticketRequest()}
	v.Match("fingerprint", time.Hour, "example.com", "\xc6\x33\x64\x07", "Mozilla/5.0", "de", "", "")
	v.Match("fingerprint", time.Hour, "the first one counts")
	assert.Equal(t, "\x01\x00\x00\x00\x0bexample.com\x00\x00\x00\x04\xc6\x33\x64\x07\x00\x00\x00\x0bMozilla/5.0\x00\x00\x00\x02de\x00\x00\x00\x00\x00\x00\x00\x00", string(v.like.signals))
	id := keyOf(&s, v.like.signals)
	assert.Equal(t, "663d132a-63a5-8ea9-94c0-e6f519627b43", id.String())
	assert.True(t, id.derived())
	assert.Equal(t, "48a8febc-c667-815e-a000-b21105441b15", saltID("fingerprint", 24*time.Hour, 20779).String())
	assert.NotEqual(t, saltID("fingerprint", 24*time.Hour, 1), saltID("fingerprint", 12*time.Hour, 1))
	assert.NotEqual(t, saltID("fingerprint", 24*time.Hour, 1), saltID("account", 24*time.Hour, 1))
	assert.Equal(t, time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), endOf(24*time.Hour, 20779))
	assert.Panics(t, func() { v.Match("other", time.Hour) }, "a strategy speaks under its own name")
}
