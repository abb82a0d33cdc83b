package encoding_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/encoding"
)

// What is written down is kept: it is in people's databases.
func TestGolden(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(1_700_000_000_000 + ms).UTC() }
	id, err := revisit.ParseID("01890a5d-ac96-774b-bcce-b302099a8057")
	require.NoError(t, err)
	for _, c := range []struct {
		record revisit.Record
		want   string
	}{
		{revisit.Record{ID: id, Version: 7, Created: at(0), LastSeen: at(1), LastHit: at(2), VisitStart: at(3), Expires: at(4), Confirmed: true, Visits: 1, Hits: 2, Via: "cookie",
			Touches: []revisit.Touch{{Time: at(0), Landing: "/shoes", Referrer: "r", Source: "s", Medium: "m", Campaign: "c", Term: "k", Content: "n", ID: "i", Click: "g"}},
			Values:  map[string]revisit.Value{"lead": {Text: "42", At: at(9)}}, MergedSessions: []revisit.MergedSession{{ID: id, Visits: 1, Hits: 2}}, ConflictingCookies: []revisit.ID{id}, LinksUsed: 3, ProbableMatch: id},
			`{"c":1700000000000,"s":1700000000001,"h":1700000000002,"b":1700000000003,"e":1700000000004,"y":true,"n":1,"i":2,"w":"cookie",` +
				`"t":[{"T":1700000000000,"L":"/shoes","R":"r","S":"s","M":"m","C":"c","K":"k","N":"n","I":"i","G":"g"}],"v":{"lead":{"t":"42","a":1700000000009}},` +
				`"a":[{"i":"01890a5d-ac96-774b-bcce-b302099a8057","v":1,"h":2}],"r":["01890a5d-ac96-774b-bcce-b302099a8057"],"j":3,"l":"01890a5d-ac96-774b-bcce-b302099a8057"}`},
		{revisit.Record{ID: id, Version: 1, Created: at(0), Expires: at(1), Forgotten: true}, `{"c":1700000000000,"e":1700000000001,"x":true}`},
		{revisit.Record{ID: id, Version: 1, Created: at(0), Expires: at(1), MergedInto: id}, `{"c":1700000000000,"e":1700000000001,"m":"01890a5d-ac96-774b-bcce-b302099a8057"}`},
	} {
		text, err := encoding.Encode(&c.record)
		require.NoError(t, err)
		assert.Equal(t, c.want, string(text))
		back, err := encoding.Decode(text, c.record.ID, c.record.Version)
		require.NoError(t, err)
		assert.Equal(t, c.record, back)
	}
	_, err = encoding.Decode([]byte("{"), id, 1)
	assert.Error(t, err)
}
