package store

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/internal/uuid"
)

func TestIDsSortByAgeAndAreParsed(t *testing.T) {
	golden := ID{0x01, 0x9a, 0xb5, 0xa6, 0x75, 0x00, 0x70, 0x11, 0xa2, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99}
	assert.Equal(t, "019ab5a6-7500-7011-a233-445566778899", golden.String())
	assert.Equal(t, time.UnixMilli(0x019ab5a67500).UTC(), golden.Time())

	at := time.Now()
	young, old := ID(uuid.New(at)), ID(uuid.New(at.Add(-time.Millisecond)))
	assert.True(t, uuid.Older(old, young))
	assert.False(t, uuid.Older(young, old))
	assert.False(t, uuid.Older(young, young))
	assert.Equal(t, at.UnixMilli(), young.Time().UnixMilli())
	assert.EqualValues(t, 7, young[6]>>4, "version of RFC 9562")
	assert.EqualValues(t, 2, young[8]>>6, "variant of RFC 9562")

	parsed, err := ParseID(young.String())
	require.NoError(t, err)
	assert.Equal(t, young, parsed)
	for _, s := range []string{"", young.String()[1:], strings.ReplaceAll(young.String(), "-", "_"), strings.Repeat("g", 36),
		"019ab5a6-7500-7011-a233-44556677889g"} {
		_, err := ParseID(s)
		assert.Error(t, err, "%q", s)
	}
	text, err := young.MarshalText()
	require.NoError(t, err)
	var back ID
	require.NoError(t, back.UnmarshalText(text))
	assert.Equal(t, young, back)
	assert.Error(t, back.UnmarshalText([]byte("x")))
	assert.Equal(t, young, back, "an error leaves the ID alone")
}
