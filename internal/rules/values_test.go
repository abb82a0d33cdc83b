package rules

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/store"
)

// A handler that sets a value has seen the one that is there, even that of a node whose
// clock is ahead.
func TestAValueIsNewerThanTheOneItReplaces(t *testing.T) {
	now := millis.Truncate(time.Now())
	r := store.Record{Values: map[string]store.Value{"lead": {Text: "old", At: now.Add(time.Hour)}}}
	dirty, err := SetValue(&r, "lead", store.Value{Text: "new", At: now})
	require.NoError(t, err)
	assert.True(t, dirty)
	assert.Equal(t, store.Value{Text: "new", At: now.Add(time.Hour + time.Millisecond)}, r.Values["lead"])
}
