package revisit

import (
	"hash/maphash"
	"net/http"
	"strings"
	"sync/atomic"
)

// IsBot is the default of [Config.Bot]. It reports whether the User-Agent names a
// crawler, a previewer of links, a feed reader, a monitor or another robot. HTTP
// clients (curl, Wget, Go-http-client) and headless browsers are none, and neither
// is a robot that names itself a browser.
//
// It looks for the words that robots have in their names, for an address to look
// them up or to write to, and for "(compatible;" in the place where browsers have
// their platform. How well that does on lists that it was not made from stands in
// docs/fingerprint.md.
func IsBot(r *http.Request) bool {
	userAgent := headerValue(r.Header, "User-Agent")
	userAgent = userAgent[:min(len(userAgent), maxUserAgent)]
	hash := maphash.String(verdictSeed, userAgent) &^ 1
	place := &verdicts[hash>>1%uint64(len(verdicts))]
	if v := place.Load(); v != 0 && v&^1 == hash {
		return v&1 != 0
	}
	if isBot(userAgent) {
		place.Store(hash | 1)
		return true
	}
	place.Store(hash)
	return false
}

// The latest User-Agents and what they are: a site sees few different ones, each many
// times, and to look for all words takes longer than to find the session. Kept is a hash
// under a seed of this process, with the verdict in its last bit.
var (
	verdicts    [1 << 10]atomic.Uint64
	verdictSeed = maphash.MakeSeed()
)

// maxUserAgent is how much of a User-Agent is looked at: those of browsers have 100 to 300
// bytes.
const maxUserAgent = 1 << 10

// botWords, in lower case, betray a robot wherever they stand. None of them is in
// the User-Agent of a browser, or of an app that shows pages in its own: "news"
// and "search" would be.
var botWords = newWords(
	// What robots are, and do.
	"bot", "crawl", "spider", "slurp", "scrap", "scan", "preview", "fetch", "feed", "rss", "monitor", "check", "archiv",
	"valid", "index", "reader", "analy", "survey", "optimiz", "seo", "link", "audit", "synthetic", "uptime", "watchagent",
	"collect", "discover", "extract", "harvest", "inspect", "resolver", "thumb", "screenshot", "capture", "observer",
	"snippet", "transcod", "probe", "research", "tracker", "trend", "verif", "catalog", "classif", "grab", "sucker", "leech",
	"parser", "metadata", "hook", "callout", "copy", "copier", "ping", "daemon", "camo", "proxy", "sitemap", "detect", "insight",
	"embed", "unfurl", "expand", "mirror", "vuln", "secur", "certif", "alert", "expert", "rating", "rank", "market", "knowledge",
	"podcast", "library", "batch", "worker", "engine", "status", "health", "measure", "quality", "compliance",
	"hunter", "finder", "seeker", "lookup", "locator", "mapper", "gather", "aggregat", "digest", "notif", "explore/", "recon",
	"evaluat", "generator", "tester", "watcher", "reporter", "importer", "converter", "rewriter", "minder", "pull",
	// What they look at, and who runs them.
	"domain", "dns", "ssl", "whois", "cache", "data", "blog", "url", "css", "xml", "content", "website", "webpage", "webmaster", "webcopy", "whatweb", "site/", "host",
	"wordpress", "jetpack", "plugin", "cloud", "cdn", "server", "api/", "openai", "-ai", "ai/", "llm",
	// Where to ask about them.
	"http://", "https://", "www.", ".com", ".org", ".net", ".eu/", ".io", ".ru", ".edu", "abuse",
	// Names without any of it.
	"google-", "-google", "facebookexternalhit", "whatsapp", "flipboard", "bubing", "heritrix", "qwantify", "yeti/",
	"daum/", "gpt", "claude", "perplexity", "ptst/", "lighthouse", "gtmetrix", "catchpoint", "ruxit", "site24x7", "uptrends",
	"datadog", "newrelic", "zgrab", "nmap", "nikto", "sqlmap", "acunetix", "nessus", "qualys", "netcraft", "tineye", "miniflux",
	"liferea", "akregator", "netvibes", "panscient", "ltx71", "proximic", "grapeshot", "hubspot", "wappalyzer", "tumblr",
	"vkshare", "jigsaw", "zoominfo", "omgili", "digg", "mojeek", "muckrack", "serpstat", "simplepie", "tiny tiny", "wayback",
	"butterfly", "traackr", "addthis", "genieo", "ezooms", "nuzzel", "quora", "virus", "expanse", "censys", "shodan", "leakix",
	"zabbix", "nagios", "prtg", "statuscake", "hetrix", "w3c", "zapier", "ifttt", "snap url", "bitly", "hootsuite",
	"brandwatch", "meltwater", "criteo", "integralads", "doubleverify", "peer39", "comscore", "screaming", "sitebulb",
	"contentking", "sistrix", "netpeak", "xenu", "integrity/", "jeeves", "gigablast", "exalead", "voila",
	"instapaper", "mastodon", "pleroma", "misskey", "prerender", "monit/", "dynatrace", "appdynamics", "sentry", "evernote",
	"scooter", "speedy", "steeler", "szukacz", "tarantula", "voyager/", "webalta", "wotbox", "zyborg", "yanga", "watchmouse", "vagabondo", "unshorten", "owler", "openfind",
	"ichiro", "holmes", "grub-client", "findthat", "covario", "charlotte", "ips-agent", "80legs", "aboundex", "aihit", "admantx", "boardreader", "convera", "fairshare",
	"funnelback", "huaweisymantec", "instabid", "infegy", "moreover", "mixnode", "mshots", "najdi", "nuhk", "page scorer", "pagething", "picscout", "plukkie", "pompos", "project-resonance",
	"sogou web", "spinn3r", "summify", "trapit", "ubermetrics", "webmon", "wesee", "zauba", "zend_http", "iframely", "hatena", "flipboardproxy", "l.webis", "stackrambler",
	"semrush", "majestic12", "buzzsumo", "siteimprove", "sucuri", "httrack", "turnitin", "twingly", "stumbleupon", "radian6", "netsparker", "openvas", "dirbuster",
	"wfuzz", "fuzz faster", "havij", "webshag", "nibbler", "hardenize", "mxtoolbox", "neustar wpm", "letsencrypt", "netnewswire", "reeder", "readability", "mattermost",
	"disqus/", "stripe/", "mandrill", "mailchimp", "paypal ipn", "printfriendly", "pearltrees", "bazqux", "applesyndication", "citoid", "dareboost", "evidon", "builtwith",
	"asana/", "downforeveryone", "isup", "brandverity", "safeweb", "webzip", "webcollage", "webcopier", "larbin", "htdig", "yacy", "meta-external", "facebookplatform", "cf-facebook",
	"google desktop", "google keyword", "google search console", "googleproducer", "googledocs", "googlesites", "googlehc/", "sysomos", "teoma", "scoop", "snoopy",
	"outbrain", "taboola", "pubsub", "skypeuri", "slack-", "discord", "telegram", "google favicon", "read-aloud", "nutch", "jobs",
)

// notBots have one of the words in them all the same: makers of telephones and
// televisions, apps that show pages, old browsers, text browsers, HTTP clients.
var notBots = newWords("lynx/", "libwww-fm", "ssl-mm", "openssl", "libssl", "links (", "elinks", "tp-link", "datawind", "datalogic", "secureb", "unrealengine", "shopping",
	"python-urllib", "urllib", "undici", "fasthttp", "go http package", "google-http-java-client", "cubot", "up.link", "qtembedded", "qtwebengine", "msapphost", "optimizedie", "linkedinapp", "telegram-android",
	"discord/", "flipboard/", "ice.net", "curl", "node-fetch")

// httpClients begin with their name, and often have their own address behind it.
var httpClients = newWords("curl/", "libcurl", "pycurl", "wget/", "python-urllib", "python-requests", "python-httpx", "urllib", "aiohttp", "undici", "node-fetch", "node/", "axios/", "got (", "got/",
	"go-http-client", "go-resty", "fasthttp", "go http package", "okhttp", "apache-httpclient", "google-http-java-client", "java/", "typhoeus", "faraday", "ruby", "guzzlehttp", "httpie",
	"libwww-perl", "lwp::simple", "rest-client", "reqwest", "hyper/", "dart/", "deno/", "bun/", "postmanruntime", "insomnia")

func isBot(userAgent string) bool {
	if httpClients.prefix(userAgent) != "" && !strings.Contains(strings.ToLower(userAgent), "bot") {
		return false
	}
	if _, after, ok := strings.Cut(userAgent, "ompatible; "); ok && !strings.HasPrefix(after, "MSIE") && !strings.HasPrefix(after, "Konqueror") {
		return true
	}
	if isBareName(userAgent) {
		return true
	}
	for i := 0; i+1 < len(userAgent); i++ {
		if !botStarts[wordIndex(userAgent[i:])] {
			continue // most of a browser's
		}
		rest := userAgent[i:]
		if name := notBots.prefix(rest); name != "" {
			i += len(name) - 1
			continue
		}
		switch {
		case rest[0] == '@' && isLetter(rest[1]):
			return true // of a mail address
		case rest[0] == '.' && (i == 0 || userAgent[i-1] == ' '):
			// .NET, which is no address
		case botWords.prefix(rest) != "":
			return true
		}
	}
	return false
}

// botStarts are the beginnings of which something may come.
var botStarts = func() (starts [len(words{})]bool) {
	for i := range starts {
		starts[i] = botWords[i] != nil || notBots[i] != nil
	}
	for c := byte('a'); c <= 'z'; c++ {
		starts[wordIndex("@"+string(c))] = true
	}
	return starts
}()

// isBareName reports whether a User-Agent is a name without a version. Browsers have
// one, and so do HTTP clients, but for node-fetch.
func isBareName(userAgent string) bool {
	return len(userAgent) >= 5 && !strings.ContainsAny(userAgent, "0123456789") && notBots.prefix(userAgent) == "" &&
		!strings.Contains(userAgent, "rowser") && !strings.Contains(userAgent, "lient")
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// words are found by five bits each of their first two characters.
type words [1 << 10][]string

func newWords(all ...string) *words {
	w := new(words)
	for _, word := range all {
		i := wordIndex(word)
		w[i] = append(w[i], word)
	}
	return w
}

// prefix returns the word that s begins with, "" for none.
func (w *words) prefix(s string) string {
	if len(s) >= 2 {
		for _, word := range w[wordIndex(s)] {
			if hasPrefixFold(s, word) {
				return word
			}
		}
	}
	return ""
}

// wordIndex is the same for capital and small letters.
func wordIndex(s string) int { return int(s[0]&0x1f)<<5 | int(s[1]&0x1f) }

// hasPrefixFold is strings.HasPrefix for a word in lower case.
func hasPrefixFold(s, word string) bool {
	if len(s) < len(word) {
		return false
	}
	for i := range len(word) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
