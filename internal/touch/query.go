package touch

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/revisit-go/revisit/store"
)

// What is read of the query of a link. Servers and browsers take URLs of 8 KiB, and links
// that people tag are far shorter.
const (
	maxQuery      = 8 << 10 // bytes
	maxPairs      = 256     // of a name and a value
	maxValuesRead = 32      // values that are looked at, whatever comes of it
	maxNested     = 3       // queries that were escaped once too often
	maxName       = 64      // bytes of a name that is one of ours
)

// What is kept of click identifiers.
const (
	maxClicks    = 4    // of one link
	maxClickText = 1024 // bytes of one, as it is written: TikTok's have more than 300
)

// knownClickIDs are the query parameters by which advertising platforms and affiliate networks
// mark a click, each as its documentation spells it, those first by which an order can be
// reported back best: a gclid before the gbraid that stands beside it. Google's srsltid is not
// one of them: no ad was clicked.
//
// To add one, put it in its place by preference, and into docs/orders.md. The position is the
// rank; it is not stored, so it may change.
var knownClickIDs = [...]string{
	"gclid", "wbraid", "gbraid", "dclid", // Google Ads, Display & Video 360
	"msclkid",   // Microsoft Advertising
	"fbclid",    // Meta
	"ttclid",    // TikTok
	"twclid",    // X
	"li_fat_id", // LinkedIn
	"epik",      // Pinterest
	"ScCid",     // Snapchat
	"rdt_cid",   // Reddit
	"yclid",     // Yandex
	"qclid",     // Quora
	"tblci",     // Taboola
	"dicbo",     // Outbrain
	"awc",       // Awin
	"irclickid", // Impact
	"cjevent",   // CJ
}

// personalNames are the query parameters by which senders of newsletters and their like name
// the person whom they have sent a link to, or the browser: nothing of them is kept.
var personalNames = [...]string{
	"mc_eid",     // Mailchimp
	"_kx", "_ke", // Klaviyo
	"_hsenc", "__hstc", "__hssc", // HubSpot
	"mkt_tok",                   // Marketo
	"vero_id",                   // Vero
	"oly_enc_id", "oly_anon_id", // Omeda
	"ml_subscriber", // MailerLite
	"ml_subscriber_hash",
	"ck_subscriber_id",  // Kit
	"__s",               // Drip
	"dm_i",              // Dotdigital
	"spuserid",          // Acoustic
	"bsft_uid",          // Blueshift
	"trk_contact",       // Listrak
	"sfmc_sub",          // Salesforce Marketing Cloud
	"elqtrackid", "elq", // Eloqua
	"_bta_tid",       // Bronto
	"igshid", "igsh", // Instagram: who has shared a link
	"_ga", "_gl", // Google: a browser on another domain
	"_branch_match_id", // Branch
}

// params says of a name in small letters what a link says by it.
var params = func() map[string]param {
	all := map[string]param{
		"utm_source": paramText, "utm_medium": paramText, "utm_campaign": paramText, "utm_term": paramText, "utm_content": paramText, "utm_id": paramText,
		"gad_source": paramPaid, "gad_campaignid": paramCampaign, "srsltid": paramShopping,
	}
	for i, name := range knownClickIDs {
		all[strings.ToLower(name)] = paramClick + param(i)
	}
	for _, name := range personalNames {
		all[name] = paramPersonal
	}
	return all
}()

type param int

const (
	paramText     param = iota + 1 // a field of store.Touch
	paramPaid                      // Google: an ad was clicked
	paramCampaign                  // Google: the number of the campaign
	paramShopping                  // Google: a product of Merchant Center, for which nobody pays
	paramPersonal
	paramClick // and above: by preference
)

// A clickName is a name of Config.ClickIDs.
type clickName struct {
	name string
	rank param
}

// clickNames returns the names of a Config that are not known anyhow, by their small letters.
func clickNames(names []string) map[string]clickName {
	all := make(map[string]clickName, len(names))
	for i, name := range names {
		if lower := strings.ToLower(name); params[lower] == 0 {
			all[lower] = clickName{name, paramClick + param(len(knownClickIDs)+i)}
		}
	}
	return all
}

// CheckClickID returns what is wrong with a name of Config.ClickIDs, "" for nothing.
func CheckClickID(name string) string {
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" {
		return fmt.Sprintf("want the name of a query parameter: up to %d letters, digits, dots, hyphens and underscores", maxName)
	}
	switch kind := params[strings.ToLower(name)]; {
	case kind == paramPersonal:
		return "which names a person or a browser, no click: it is never kept"
	case kind != 0 && kind < paramClick:
		return "which is no click identifier"
	}
	return ""
}

// A clip is why something that a link says is not kept.
type clip int

const (
	clipLong       clip = iota // longer than what is kept, or looked at
	clipMany                   // more than what is kept, or looked at
	clipPersonal               // see isPersonal and personalNames
	clipMacro                  // of a template that nobody has filled in
	clipUnreadable             // not UTF-8, or with control characters
	clipKinds
)

// reasons are the keys of Stats.Clipped.
var reasons = [ClipReasons]string{"long", "many", "personal", "macro", "unreadable"}

// ClipReasons is how many reasons there are to leave something out of a link.
const ClipReasons = int(clipKinds)

// ClipReason returns the name of a reason, as in Stats.Clipped.
func ClipReason(i int) string { return reasons[i] }

// Clipped counts what is left out of a link, by reason.
type Clipped [ClipReasons]int64

// A query is what stands behind the path of a link, as it is read into a Touch.
type query struct {
	reader *Reader
	touch  *store.Touch
	left   *Clipped

	pairs, tries   int
	cut            bool   // the query goes on
	campaign       string // gad_campaignid
	paid, shopping bool

	clicks [maxClicks]click // by rank
	n      int              // of them
}

type click struct {
	rank       param
	name, text string // the text as Touch.Click has it
}

// read reads a query, the first part of it if it is a long one.
func (q *query) read(text string, nested int) {
	if len(text) > maxQuery {
		text, q.cut = text[:maxQuery], true
		q.left[clipLong]++
	}
	for text != "" {
		pair, rest, _ := strings.Cut(text, "&")
		if text = rest; pair != "" && !q.pair(pair, nested, q.cut && rest == "") {
			return
		}
	}
}

// pair reads one pair of a query and reports whether there may be more. One that is half
// there, since the query was cut, has no click identifier.
func (q *query) pair(pair string, nested int, half bool) bool {
	for {
		if q.pairs++; q.pairs > maxPairs {
			if q.pairs == maxPairs+1 {
				q.left[clipMany]++
			}
			return false
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			// A query that was escaped as a whole. Nobody calls a parameter so.
			if inner := unescapeOnce(pair); inner != pair && nested < maxNested {
				q.read(inner, nested+1)
			}
			return true
		}
		name, kind := q.reader.paramOf(key)
		if kind != 0 {
			q.take(name, kind, value, nested, half)
			return true
		}
		// A link that had a query got a second one: ?a=1?utm_source=x. What begins in an
		// address is that address's.
		before, rest, ok := q.reader.cutAtParam(value)
		if !ok || isAddress(before) {
			return true
		}
		pair = rest
	}
}

// take reads the value of a name that says something.
func (q *query) take(name string, kind param, value string, nested int, half bool) {
	raw := value
	if kind >= paramClick {
		value = unescapeOnce(value) // a plus sign is one, in what looks like base64
	} else {
		value = unescapeOnce(strings.ReplaceAll(value, "+", " "))
	}
	if before, rest, ok := q.reader.cutAtParam(value); ok && nested < maxNested && !isAddress(before) {
		defer q.read(rest, nested+1)
		raw, value, half = before, before, false
	}
	value, ok := readable(value)
	switch {
	case value == "" && ok:
	case kind == paramPersonal:
		q.left[clipPersonal]++
	case q.tries == maxValuesRead:
		q.left[clipMany]++
	default:
		q.tries++
		if (kind != paramText || name == "utm_id") && (isMacro(raw) || isMacro(value)) {
			q.left[clipMacro]++
		} else if !ok {
			q.left[clipUnreadable]++
		} else {
			q.keep(name, kind, raw, value, half)
		}
	}
}

func (q *query) keep(name string, kind param, raw, value string, half bool) {
	switch kind {
	case paramText:
		q.text(field(q.touch, name), raw, value)
	case paramCampaign:
		q.text(&q.campaign, raw, value)
	case paramPaid:
		q.paid = true
	case paramShopping:
		q.shopping = true
	default:
		// Half a click identifier is none.
		if value = escapeClick(value); half || len(value) > maxClickText {
			q.left[clipLong]++
		} else if namesSomebody(value) {
			q.left[clipPersonal]++
		} else {
			q.click(click{kind, name, value})
		}
	}
}

// text keeps the first of the values of a name.
func (q *query) text(field *string, raw, value string) {
	// As it came, too: a plus sign is a space to a query, and begins a number.
	if isPersonal(raw) || isPersonal(value) {
		q.left[clipPersonal]++
		return
	}
	if value = q.left.clip(value); *field == "" {
		*field = value
	} else if *field != value {
		q.left[clipMany]++
	}
}

// click keeps an identifier, of each name the first, and those of the highest rank.
func (q *query) click(c click) {
	i := 0
	for i < q.n && q.clicks[i].rank < c.rank {
		i++
	}
	if i < q.n && q.clicks[i].rank == c.rank {
		if q.clicks[i].text != c.text {
			q.left[clipMany]++
		}
		return
	}
	if q.n == maxClicks {
		q.left[clipMany]++ // this one, or the last
		if i == maxClicks {
			return
		}
		q.n--
	}
	copy(q.clicks[i+1:], q.clicks[i:q.n])
	q.clicks[i] = c
	q.n++
}

// finish puts into the touch what is known when all was read.
func (q *query) finish() {
	if q.touch.ID == "" {
		q.touch.ID = q.campaign
	}
	switch q.n {
	case 0:
	case 1:
		q.touch.Click = q.clicks[0].name + "=" + q.clicks[0].text
	default:
		var b strings.Builder
		for i, c := range q.clicks[:q.n] {
			if i > 0 {
				b.WriteByte('&')
			}
			b.WriteString(c.name)
			b.WriteByte('=')
			b.WriteString(c.text)
		}
		q.touch.Click = b.String()
	}
}

// paramOf returns what a name of a query, as it is written there, says, 0 for nothing; and the
// name as it is kept. Names are escaped, in capitals and behind what is left of an HTML
// ampersand in links that went through many hands.
func (rd *Reader) paramOf(key string) (name string, kind param) {
	if len(key) > 3*maxName {
		return "", 0
	}
	for range maxNested {
		if !strings.Contains(key, "%") {
			break
		}
		key = unescapeOnce(key)
	}
	if i := strings.LastIndexAny(key, "&;?"); i >= 0 {
		if isAddress(key[:i]) {
			return "", 0
		}
		key = key[i+1:]
	}
	key, _ = readable(strings.Trim(key, "+"))
	name = strings.ToLower(key)
	if kind = params[name]; kind >= paramClick {
		name = knownClickIDs[kind-paramClick]
	} else if kind == 0 {
		if c, ok := rd.moreClickIDs[name]; ok {
			name, kind = c.name, c.rank
		}
	}
	return name, kind
}

// cutAtParam cuts a value where a pair begins within it that says something: a link was put
// together from parts, of which each had its question mark, or its ampersand was escaped.
func (rd *Reader) cutAtParam(value string) (before, rest string, ok bool) {
	for i := 0; ; i++ {
		n := strings.IndexAny(value[i:], "&;?")
		if n < 0 {
			return value, "", false
		}
		i += n
		rest = value[i+1:]
		if n := strings.IndexByte(rest[:min(len(rest), maxName)], '='); n > 0 {
			if _, kind := rd.paramOf(rest[:n]); kind != 0 {
				return value[:i], rest, true
			}
		}
	}
}

// isAddress reports whether a text begins as the address of a page, whose query is another
// one's.
func isAddress(s string) bool {
	s = unescapeOnce(s)
	return strings.HasPrefix(s, "/") || strings.Contains(s, "://")
}

// isMacro reports whether a platform, or whoever has made a link, was to put something in
// the place of this: {gclid}, __CLICKID__, %%CLICKID%%, [click], undefined. No identifier is
// written so.
func isMacro(s string) bool {
	for range maxNested {
		again := unescapeOnce(s)
		if again == s || !utf8.ValidString(again) {
			break // %%ADID%% has no escape in it
		}
		s = again
	}
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "undefined", "null", "none", "nil", "nan", "true", "false":
		return true
	}
	if strings.ContainsAny(s, "{}[]<>") {
		return true
	}
	for _, mark := range [...]string{"__", "%", "$", "*", "!", "@", "#"} {
		if len(s) > 2*len(mark) && strings.HasPrefix(s, mark) && strings.HasSuffix(s, mark) {
			return true
		}
	}
	return strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")")
}

// namesSomebody reports whether a click identifier is a mail address or a login. Otherwise it
// may look like a token: it is one of the platform's.
func namesSomebody(s string) bool {
	for range maxNested {
		if hasAddress(s) || hasJWT(s) || hasPersonalName(s) {
			return true
		}
		again := unescapeOnce(s)
		if again == s {
			return false
		}
		s = again
	}
	return true
}

// readable returns a text as it is kept: without what cannot be seen. Marks, embeddings and
// overrides of direction are left out (without them no text can turn round and look like
// another one), white space of other kinds is a space. Not ok is a text that is not UTF-8, or
// has control characters.
func readable(s string) (text string, ok bool) {
	plain := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			plain = false
			break
		}
	}
	if plain {
		return strings.TrimSpace(s), true
	}
	if !utf8.ValidString(s) {
		return "", false
	}
	ok = true
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\u200b', r == '\ufeff', unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r):
			ok = false
		}
		return r
	}, s)
	if !ok {
		return "", false
	}
	return strings.TrimSpace(s), true
}

// escapeClick escapes what would break the form of Touch.Click, or be read as something
// else by url.ParseQuery. Real identifiers have nothing of it.
func escapeClick(s string) string {
	if !strings.ContainsAny(s, "%&+; ") {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		if c := s[i]; strings.IndexByte("%&+; ", c) >= 0 {
			b = append(b, '%', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

// SharesClick reports whether two touches have a click identifier in common.
func SharesClick(t, u *store.Touch) bool {
	if t.Click == "" || u.Click == "" {
		return false
	}
	if t.Click == u.Click {
		return true
	}
	for rest := t.Click; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		for others := u.Click; others != ""; {
			var other string
			if other, others, _ = strings.Cut(others, "&"); other == pair {
				return true
			}
		}
	}
	return false
}

// clip cuts s to what a store.Touch takes, where a character ends, be it an escaped one.
func (left *Clipped) clip(s string) string {
	if len(s) <= maxTouchText {
		return s
	}
	left[clipLong]++
	n := maxTouchText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	for i := max(0, n-2); i < n; i++ {
		if _, ok := escaped(s[i:]); ok {
			n = i // within an escape
		}
	}
	// Within an escaped character, if it goes on.
	if c, ok := escaped(s[n:]); ok && isContinuation(c) {
		for i := n - 3; i >= max(0, n-9); i -= 3 {
			c, ok := escaped(s[i:])
			if !ok {
				break
			}
			if !isContinuation(c) {
				n = i
				break
			}
		}
	}
	return s[:n]
}

func isContinuation(c byte) bool { return !utf8.RuneStart(c) }

// escaped returns the byte that s begins with, if that is an escaped one.
func escaped(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' || !isHex(s[1]) || !isHex(s[2]) {
		return 0, false
	}
	return hexValue(s[1])<<4 | hexValue(s[2]), true
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
