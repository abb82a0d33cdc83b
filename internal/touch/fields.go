package touch

import (
	"net/url"
	"slices"
	"strings"

	"github.com/revisit-go/revisit/store"
)

// maxTouches is how many touches a session keeps: the first for ever and the
// latest 15 after it.
const maxTouches = 16

// field returns where the value of a utm parameter belongs, nil for other keys.
func field(t *store.Touch, key string) *string {
	switch key {
	case "utm_source":
		return &t.Source
	case "utm_medium":
		return &t.Medium
	case "utm_campaign":
		return &t.Campaign
	case "utm_term":
		return &t.Term
	case "utm_content":
		return &t.Content
	case "utm_id":
		return &t.ID
	}
	return nil
}

// IsCampaign reports whether the link names a campaign.
func IsCampaign(t *store.Touch) bool {
	if t.Campaign != "" || t.ID != "" || t.Click != "" || t.Term != "" || t.Content != "" {
		return true
	}
	if t.Source == "" || t.Referrer == "" {
		return t.Source != "" || t.Medium != ""
	}
	// Source and Medium are what the referrer is, or the link names a campaign.
	u, err := url.Parse(t.Referrer)
	if err != nil {
		return false
	}
	is := referrerKind{t.Medium, t.Source}
	kind := classify(u.Hostname())
	return is != kind && is != referrerKind{"referral", u.Hostname()} && !(is == shoppingListing && kind == referrerKind{"search", "google"})
}

// SameCampaign reports whether two touches of a campaign speak of one click: the same
// URL loaded once more, say.
func SameCampaign(t, u *store.Touch) bool { return SameTags(t, u) && t.Click == u.Click }

// SameTags is SameCampaign for all but the click identifiers.
func SameTags(t, u *store.Touch) bool {
	return t.Source == u.Source && t.Medium == u.Medium && t.Campaign == u.Campaign &&
		t.Term == u.Term && t.Content == u.Content && t.ID == u.ID
}

// IsUntagged reports whether a touch with a click identifier has nothing else that names a
// campaign.
func IsUntagged(t *store.Touch) bool { return SameTags(t, &store.Touch{}) }

// Add returns touches with t in its place by time, nothing if it is there
// already. The given slice stays as it is.
func Add(touches []store.Touch, t store.Touch) []store.Touch {
	if slices.ContainsFunc(touches, func(u store.Touch) bool { return same(u, t) }) {
		return touches
	}
	all := make([]store.Touch, 0, len(touches)+1)
	all = append(append(all, touches...), Clone(t))
	slices.SortStableFunc(all, func(a, b store.Touch) int { return a.Time.Compare(b.Time) })
	if over := len(all) - maxTouches; over > 0 {
		all = slices.Delete(all, 1, 1+over)
	}
	return all
}

// Clone returns a store.Touch with texts of its own: those of a request are cut out of
// its URL, and would keep all of it in memory.
func Clone(t store.Touch) store.Touch {
	for _, s := range Texts(&t) {
		*s = strings.Clone(*s)
	}
	return t
}

// Texts returns all texts of a store.Touch, in an order that is kept.
func Texts(t *store.Touch) [9]*string {
	return [...]*string{&t.Landing, &t.Referrer, &t.Source, &t.Medium, &t.Campaign, &t.Term, &t.Content, &t.ID, &t.Click}
}

func same(a, b store.Touch) bool {
	if !a.Time.Equal(b.Time) {
		return false
	}
	a.Time = b.Time // one instant can be written in two ways
	return a == b
}
