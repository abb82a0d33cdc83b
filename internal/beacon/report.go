package beacon

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/header"
)

// What the script sends to the anchor. A page of another origin cannot: these
// fields would have the browser ask first.
const (
	FieldLink     = "Revisit-Link"     // link tokens, separated by commas
	fieldPage     = "Revisit-Page"     // a page view: path, query and fragment of the page
	fieldLanding  = "Revisit-Landing"  // the same of a visit that began before consent, or of a campaign in the fragment
	fieldAgain    = "Revisit-Again"    // the same of a page that a handler has counted, and that was loaded again or gone back to
	fieldReferrer = "Revisit-Referrer" // of any of them
	fieldLoad     = "Revisit-Load"     // how the page was loaded: see readLoad
	FieldAnchor   = "Revisit-Anchor"   // asks one anchor for a link that is for the other; of an answer: whether the anchor is new
)

const (
	// maxPage is how long the URL of a page is at most that is looked at.
	maxPage = 8 << 10
	// maxLoadText is how much of fieldLoad is looked at.
	maxLoadText = 64
	// maxPageAge is how long after a page was asked for its view can be taken for seen.
	maxPageAge = time.Hour
	// ReportDelay is how long a report may be on its way, in excess of what
	// the page was.
	ReportDelay = time.Second
)

// A Report is what the script says of the page that it is in.
type Report struct {
	Page, Referrer string // of a page view; the page may be unknown
	BeforeConsent  bool   // the view was before consent

	// The page was loaded again, or gone back to: nobody has clicked.
	Again bool
	// A handler has counted the page view, asked for that long ago at the most. The report
	// only says whether somebody has clicked.
	Counted bool
	Age     time.Duration
	// The page is a copy that a service worker has kept, which may have asked for a newer
	// one meanwhile: the view is one unless another was counted since then.
	Stale bool
}

// IsView reports whether the report is of a page view that nobody has counted.
func (r *Report) IsView() bool { return r.Page != "" && !r.Counted }

// Since returns the time after which another page view of the session is the one of this
// report.
func (r *Report) Since(now time.Time) time.Time { return now.Add(-r.Age - ReportDelay) }

// ReadReport reads a report, and says whether there was one, readable or not.
func ReadReport(h http.Header, now time.Time) (r Report, ok bool) {
	for _, name := range [...]string{fieldPage, fieldLanding, fieldAgain} {
		page := header.Value(h, name)
		if page == "" {
			continue
		}
		ok = true
		path, _, _ := strings.Cut(page, "#")
		if _, err := url.ParseRequestURI(path); err == nil && len(page) <= maxPage && page[0] == '/' && !strings.HasPrefix(page, "//") {
			r.Page, r.Referrer, r.BeforeConsent = page, header.Value(h, fieldReferrer), name == fieldLanding
			seen := r.readLoad(header.Value(h, fieldLoad), now)
			r.Counted = name == fieldAgain || name == fieldPage && seen
		}
	}
	return r, ok
}

// readLoad reads how the page was loaded, and reports whether the server
// has counted just that:
//
//	Revisit-Load: again,age=1200,seen=1764264000123
//
// Again is a reload or a way back; age is how many milliseconds ago, and more, the browser
// has asked for the page; seen is when the server has counted it, by the word that came
// with it (see sendSeen), which is an old one if the page comes out of a service worker's
// store.
func (r *Report) readLoad(text string, now time.Time) (seen bool) {
	if len(text) > maxLoadText {
		return false
	}
	var age, at int64
	for word := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "again":
			r.Again = true
		case "age":
			age, _ = strconv.ParseInt(value, 10, 64)
		case "seen":
			at, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	r.Age = time.Duration(min(max(age, 0), maxPageAge.Milliseconds())) * time.Millisecond
	seen = at > 0 && now.UnixMilli()-at <= (r.Age+ReportDelay).Milliseconds()
	r.Stale = at > 0 && !seen
	return seen
}
