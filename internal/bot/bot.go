// Package bot tells robots from people by their User-Agent.
package bot

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// Is reports whether a User-Agent is a robot's: see revisit.IsBot.
func Is(userAgent string) bool {
	userAgent = userAgent[:min(len(userAgent), maxUserAgent)]
	hash := maphash.String(verdictSeed, userAgent) &^ 1
	place := &verdicts[hash>>1%uint64(len(verdicts))]
	if v := place.Load(); v != 0 && v&^1 == hash {
		return v&1 != 0
	}
	if is(userAgent) {
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

// The words are in lower case. A space at the beginning of one says that a word begins
// there, a space at its end that a word ends there. Letters and digits make up words, and
// a capital letter begins one: " rss" is not in "S1RSS32", but in "FeedRSS/2"; "bot " is in
// "Googlebot/2.1" and in "LinkedInBot".

// robotNames betray a robot in every User-Agent: no telephone and no app is called that.
var robotNames = []string{
	// Where to ask about it.
	"http://", "https://", "www.",
	// Of searchers and previewers.
	"baiduspider", " slurp ", "facebookexternalhit", "facebookplatform", "meta-external", "cf-facebook", "heritrix", "mediapartners-google", "google web preview", "google-publisher-plugin", "googleimageproxy",
	"google page speed", "google favicon", "google desktop", "google keyword", "google search console", "googleproducer", "googlehc/", "bingpreview", "skypeuripreview", "chrome-lighthouse", "prerender",
	"exabot", "stackrambler", " ichiro/", " yeti/", "qwantify", "commoncrawl", "spinn3r", " 80legs", " nutch", " claude-", "chatgpt-user", "perplexity-user",
	// Of monitors and testers.
	"gtmetrix", "catchpoint", " ptst", "ruxit", "site24x7", "uptrends", "uptimerobot", "statuscake", "newrelicsynthetics", "datadogsynthetics", "dareboost", "neustar wpm", "ghost inspector", "siteimprove",
	"hardenize", "screenshot-generator", "mixed-content-scan", "zgrab", "nikto", "sqlmap", "acunetix", "nessus", "qualys", "netsparker", "openvas", "dirbuster", "wfuzz", "leakix", "censys", "internetmeasurement",
	"urltester", "wptester", "pingdom", "securityheaders", "linktiger",
	// Of those who sell what they find.
	"tineye", "ltx71", "proximic", "grapeshot", "admantx", "wappalyzer", "builtwith", "semrush", "hubspot webcrawler", "sitebulb", "screaming frog", "httrack", "twingly", "panscient", "ips-agent",
	"pagething", "fairshare", "brandverity", "printfriendly", "datanyze", "adbeat.com", "marketgoo", "link gecko",
	// Of readers of feeds.
	"%20feeds/", "feeder.co", "reeder/", "reederformac", "quiterss", "netnewswire",
	// Others.
	"thousandeyes", "alertsite", "speedcurve", "recordedfuture", "gobuster", "feroxbuster", "nuclei -", "barkrowler", "gomezagent", "huaweisymantec", "bubing", "omgili", "muckrack", "serpstat", "simplepie",
	"traackr", "addthis", "genieo", "ezooms", "nuzzel", "shodan", "hetrix", "integralads", "doubleverify", "peer39", "contentking", "sistrix", "netpeak", "xenu", "gigablast", "exalead", "miniflux",
	"liferea", "akregator", " monit/", " steeler/", "szukacz", "webalta", "wotbox", "zyborg", "yanga", "watchmouse", "vagabondo", "unshorten", " owler", "openfind", "grub-client", "findthat", "covario",
	"aboundex", "aihit", "boardreader", "convera", "funnelback", "instabid", "infegy", "mixnode", "mshots", "najdi", "nuhk", "picscout", "plukkie", "pompos", "project-resonance", "summify", "ubermetrics",
	"wesee", "zauba", "zend_http", "iframely", "l.webis", "majestic12", "buzzsumo", "sucuri", "havij", "webshag", "mxtoolbox", "bazqux", "applesyndication", "citoid", "evidon", "downforeveryone",
	"webzip", "webcollage", "webcopier", "larbin", "htdig", "yacy", "sysomos", "teoma", "page scorer", "sogou web", "fuzz faster", "firefox mutant", " daumoa", " daum/4", " daum 4", "rival iq", "criteo",
	"marketing grader", "w3c-mobileok", "w3c_", "podcastaddict", "httpscheck", "%20extractor", " at gmail.", "alibaba.security", "silktide", "panopta", "websnap", "imgsizer", "webthumb", "webscreenie",
	"wkhtmlto", "geziyor", "emailwolf", "snap url", "tiny tiny", "paypal ipn",
}

// robotWords are parts of the names of robots. In a comment of a device they count only with
// a version behind them: the model stands there, and "ID bot 53" is a telephone.
var robotWords = []string{"bot ", "bots ", "robot ", " robot", "spider ", " spider", "crawler ", "crawlers ", " crawl", "crawling", " google-", "-google ", " scraper ", "scraper ", "scraping "}

// workWords say what robots do. They count for programs and for browsers on a computer, not
// for devices: their apps scan and check and preview as well.
var workWords = []string{
	" scan ", "scan ", "scanner ", "preview ", " preview", "fetcher ", " fetch ", "monitor ", "monitoring ", "monitors ", "validator ", " valid", "checker ", " check ", "check ", " linkcheck", "screenshot",
	" thumbnail", "thumbnails ", "snippet", "lighthouse ", "synthetic", "webmaster", "archive ", "archives ", "archiver ", "extractor ", "inspector ", "insights ", "indexer ", "classifier ", " feed",
	"feeds ", "podcast", "tester ", "mapper ", "mappercmd", "watcher ", "generator ", "capture ", "uptime", "pagespeed", " seo ", " audit", "audit ", "backlink", " rss ", "rss/", "analyzer ", " research",
	"crawl", "collect", "extract", "harvest", "detect", "verif", "measure", " probe", "tracker ", "catalog", "classif", "grab ", "grabber ", "leech", "parser ", "metadata", " whois", " dns ", " ssl ",
	"abuse", "sitemap", "unfurl", "vuln", "-ai", "ai/", "llm ", "openai", "status ", "alerts ", "notif", "compliance", "domain", "aggregat", " survey ", "resolver ", "observer ", "optimizer ", "semantic",
	"wordpress", "security-", "securityscan",
}

// programWords count for programs alone. Browsers, what is added to them, and apps have such
// words in their names, too: "CreativeCloud/4.8", "SP-engine/2.16".
var programWords = []string{
	// What robots are, and do.
	" bot", "bot-", "spider", "scrap", " scan", "preview", "fetch", "feed ", " rss", "rss ", "monitor", "check", "archiv",
	"valid", "index", "reader", "analy", "survey", "optimiz", "seo", " link", "link ", "links ", "audit", "watchagent",
	"discover", "inspect", "resolver", "thumb", "capture", "observer",
	"transcod", "probe", "research", "tracker", " trend", "trends ", " grab", "sucker",
	"parser", " hook", "hook ", "callout", " copy", "copy ", "copier", " ping", "ping ", "daemon", " camo ", "proxy", "insight",
	"embed", "expand", "mirror", "secur", "certif", "alert", "expert", " rating", " rank", "rank ", "market", "knowledge",
	"library", "batch", "worker", "engine", "status", "health", "quality",
	"hunter", "finder", "seeker", "lookup", "locator", "mapper", "gather", "digest", "explore/", "recon",
	"evaluat", "generator", "tester", "watcher", "reporter", "importer", "converter", "rewriter", "minder", " pull",
	// What they look at, and who runs them.
	" dns", "dns ", " ssl", "ssl ", "whois", "cache", " data", "data ", " blog", "blog ", "blogs ", " url", "url ", "urls ", " css", " xml", "xml ", "content", "website", "webpage", "webcopy", "whatweb", "site/", " host", "host ",
	"jetpack", "plugin", "cloud", " cdn", "cdn ", "server", "api/", " llm",
	// Names, of those that browsers and apps have or may have.
	"flipboard", "yeti/", "hatena", "outbrain", "taboola", "bitly", "hootsuite", "zabbix", "zapier", "ifttt", "mailchimp", "mandrill", "pearltrees", "mojeek", "netvibes", "comscore", "dynatrace",
	"appdynamics", "turnitin", "brandwatch", "meltwater", "pubsub", " daum/", "letsencrypt", "nagios", "radian6", "gpt ", "claude", "perplexity", "ptst/", "lighthouse", "datadog", "newrelic", " nmap ",
	"netcraft", "hubspot", "tumblr", "vkshare", "jigsaw", "zoominfo", " digg", "wayback", "butterfly", "quora", "virus", "expanse", " prtg", " w3c", "integrity/", "jeeves", "voila", "instapaper",
	"mastodon", "pleroma", "misskey", "sentry", "evernote", "scooter", "speedy", "tarantula", "voyager/", "holmes", "charlotte", "moreover", "trapit", "webmon", "flipboardproxy", "stumbleupon", "nibbler",
	"readability", "mattermost", "disqus/", "stripe/", "asana/", " isup ", "safeweb", "googledocs", "googlesites", "scoop", "snoopy", "search", " news", "news ", "-agent/", "tracer", " robo", "intelligen",
	" craw", "crwl", "b0t ", "plagia", "snapr", "shots ", "shooter", "skypeuri", "slack-", "discord", "telegram", "read-aloud", "jobs",
}

// topLevels end the address of a site. A browser on a computer has none outside of its
// comments, but for a version behind it: "Battle.net/1.5".
var topLevels = []string{".com ", ".org ", ".net ", ".eu/", ".io ", ".ru ", ".edu "}

// botWords are all of these, each with what it is.
var botWords = func() *words {
	all := new(words)
	all.add(robotName, robotNames)
	all.add(robotWord, robotWords)
	all.add(workWord, workWords)
	all.add(programWord, programWords)
	all.add(topLevel, topLevels)
	return all
}()

const (
	robotName = 1 << iota
	robotWord
	workWord
	programWord
	topLevel
	mail
)

// notBots have one of the words in them all the same: makers of telephones and
// televisions, apps that show pages, old browsers, text browsers, HTTP clients.
var notBots = newWords("lynx/", "libwww-fm", "ssl-mm", "openssl", "libssl", "links (", "elinks", "tp-link", "datawind", "datalogic", "secureb", "unrealengine", "shopping",
	"python-urllib", "urllib", "undici", "fasthttp", "go http package", "google-http-java-client", "cubot", "up.link", "qtembedded", "qtwebengine", "msapphost", "optimizedie", "linkedinapp", "telegram-android",
	"discord/", "flipboard/", "ice.net", "curl", "node-fetch", "com.apple.webkit.", ".net clr", ".net4.", "http://bsalsa.com", "http://www.bsalsa.com", "www.bsalsa.com", "http://www.qtweb.net", "www.avantbrowser.com", "http://www.avantbrowser.com", "avantbrowser.com", "http://www.orcabrowser.com", "mod.by.www.")

// httpClients begin with their name, and often have their own address behind it.
var httpClients = newWords("curl/", "libcurl", "pycurl", "wget/", "python-urllib", "python-requests", "python-httpx", "urllib", "aiohttp", "undici", "node-fetch", "node/", "axios/", "got (", "got/",
	"go-http-client", "go-resty", "fasthttp", "go http package", "okhttp", "apache-httpclient", "google-http-java-client", "java/", "typhoeus", "faraday", "ruby", "guzzlehttp", "httpie",
	"libwww-perl", "lwp::simple", "rest-client", "reqwest", "hyper/", "dart/", "deno/", "bun/", "postmanruntime", "insomnia")

// What a User-Agent is of.
const (
	program = iota + 1
	desktop // a browser on a computer
	device  // a browser, or an app, on a telephone, a television and their like
)

// deviceWords are in the User-Agents of devices: systems, and makers of old telephones, which
// have little else in theirs. Electron is an app's.
var deviceWords = newWords(
	" android", " iphone", " ipad", " ipod", " midp", " cldc", " j2me", " cfnetwork/", " darwin/", " up.browser", " netfront", " symbian", " series60", " windows ce", " windows phone", " iemobile",
	" blackberry", " nokia", " sonyericsson", " sony ericsson", " samsung", " htc", " lg-", " lge-", " lg/", " lg ", " mot-", " motorola", " alcatel", " zte", " palm", " web0s", " webos", " hbbtv",
	" smart-tv", " smarttv", " tizen", " netcast", " playstation", " nintendo", " xbox", " kindle", " roku/", " appletv", " tvos", " watchos", " kaios", " ucweb", " ucbrowser", " mqqbrowser", " brew",
	" opera mini", " dalvik", " puffin/", " harmonyos", " openharmony", " philips", " asus", " electron/", " mobile ", " tablet", " opera mobi", " bada/", " bada ", " meego", " maemo", " wap ", " obigo", " teleca",
	" polaris", " dolfin", " maui", " huawei", " sharp ", " sharp-", " sanyo", " kddi", " docomo", " softbank", " j-phone", " vodafone", " panasonic", " toshiba", " pantech", " siemens", " sie-", " sagem", " haier",
	" lenovo", " tcl", " tecno", " itel", " infinix", " vivo", " oppo", " xiaomi", " redmi", " micromax", " karbonn", " intex", " lava ", " spice ", " telit", " portalmmm", " vertu", " bravia", " viera",
	" aquos", " hisense", " grundig", " loewe", " wii", " psp ",
)

// engineWords are in the User-Agent of a browser, somewhere behind "Mozilla/" or "Opera/".
var engineWords = newWords(" applewebkit/", " gecko/", " trident/", " msie ", " presto/", " khtml/", " khtml,", " konqueror/", " chrome/", " firefox/", " safari/", " gecko ", " goanna/", " servo/", " opera", " netscape")

// oldBrowsers stand behind "(compatible;", as robots do.
var oldBrowsers = newWords(
	"msie", "konqueror", "opera", "netfront", "polaris", "icab", "omniweb", "dillo", "netpositive", "ibrowse", "aol", "teleca", "obigo", "sonyericsson", "nokia", "windows", "win32", "linux", "ubuntu",
	"intel mac", "macintosh", "u;", "n;", "i;", "powermarks", "mspie", "offbyone", "voyager", "links (", "blazer", "yospace", "antfresco", "netscape", "mosaic", "ncsa_mosaic", "aweb", "arexx", "alpha/",
	"amiga", "avantgo", "crazy browser", "ncbrowser", "netgem", "oss/", "twonky",
)

func is(userAgent string) bool {
	if httpClients.prefix(userAgent) != "" && !strings.Contains(strings.ToLower(userAgent), "bot") {
		return false
	}
	// WhatsApp asks for previews as "WhatsApp/2.20 Android/9 Device/..."; links open in a browser.
	if isCompatible(userAgent) || isBareName(userAgent) || hasPrefixFold(userAgent, "whatsapp/") {
		return true
	}
	kind := 0    // found when a word asks for it: most browsers have none
	comment := 0 // how many parentheses are open
	for i := 0; i+1 < len(userAgent); i++ {
		switch userAgent[i] {
		case '(', '[':
			comment++
		case ')', ']':
			comment = max(0, comment-1)
		}
		if !botStarts[wordIndex(userAgent[i:])] {
			continue // most of a browser's
		}
		if name := notBots.prefix(userAgent[i:]); name != "" {
			i += len(name) - 1
			continue
		}
		found := botWords.at(userAgent, i)
		if userAgent[i] == '@' && isLetter(userAgent[i+1]) {
			found = mail
		}
		if found == 0 {
			continue
		}
		if kind == 0 {
			kind = kindOf(userAgent)
		}
		switch {
		case found&robotName != 0 || kind == program:
			return true
		case found&robotWord != 0 && (kind == desktop || comment == 0 || hasVersion(userAgent[i:])):
			return true
		case kind == desktop && (found&workWord != 0 || found&mail != 0 && isMail(userAgent, i)):
			return true
		case kind == desktop && found&topLevel != 0 && comment == 0 && !hasVersion(userAgent[i:]):
			return true
		}
	}
	return false
}

// isCompatible reports whether a User-Agent has the name of a robot behind "compatible;". Old
// browsers have theirs there, and Internet Explorer whatever an administrator wrote into it.
func isCompatible(userAgent string) bool {
	for at := 0; ; {
		i := strings.Index(userAgent[at:], "ompatible;")
		if i < 0 {
			return false
		}
		comment := userAgent[strings.LastIndexByte(userAgent[:at+i], '(')+1:]
		at += i + len("ompatible;")
		comment, _, _ = strings.Cut(comment, ")")
		name := strings.TrimLeft(userAgent[at:], " ")
		if oldBrowsers.prefix(name) == "" && !strings.HasPrefix(name, ")") && !strings.Contains(comment, "Trident/") && !strings.Contains(comment, "MSIE ") {
			return true
		}
	}
}

// botStarts are the beginnings of which something may come.
var botStarts = func() (starts [len(words{})]bool) {
	for i := range starts {
		starts[i] = botWords[i] != nil || notBots[i] != nil
	}
	for c := range byte(128) {
		if isAlnum(c) {
			starts[wordIndex("@"+string(c))] = true
		}
	}
	return starts
}()

// kindOf says what a User-Agent is of.
func kindOf(userAgent string) int {
	kind := program
	begin := strings.TrimLeft(userAgent, `"' `)
	browser := hasPrefixFold(begin, "mozilla/") || hasPrefixFold(begin, "opera/")
	for i := 0; i+1 < len(userAgent); i++ {
		if deviceWords.at(userAgent, i) != 0 {
			return device
		}
		if browser && engineWords.at(userAgent, i) != 0 {
			kind = desktop
		}
	}
	return kind
}

// hasVersion reports whether the name that s begins in has a version behind it.
func hasVersion(s string) bool {
	i := 0
	for i < len(s) && (isAlnum(s[i]) || s[i] == '-' || s[i] == '_' || s[i] == '.') {
		i++
	}
	version, ok := strings.CutPrefix(s[i:], "/")
	version = strings.TrimLeft(version, "vV")
	return ok && version != "" && isAlnum(version[0]) && !isLetter(version[0])
}

// isMail reports whether the @ at i is that of a mail address: "en_IR@calendar=gregorian" is
// none.
func isMail(s string, i int) bool {
	if i == 0 || !isAlnum(s[i-1]) {
		return false
	}
	domain := s[i+1:]
	end := 0
	for end < len(domain) && (isAlnum(domain[end]) || domain[end] == '-' || domain[end] == '.') {
		end++
	}
	dot := strings.LastIndexByte(strings.TrimRight(domain[:end], "."), '.')
	return dot > 0 && dot+2 < end && isLetter(domain[dot+1]) && isLetter(domain[dot+2])
}

// isBareName reports whether a User-Agent is a name without a version. Browsers have
// one, and so do HTTP clients, but for node-fetch.
func isBareName(userAgent string) bool {
	return len(userAgent) >= 5 && !strings.ContainsAny(userAgent, "0123456789") && notBots.prefix(userAgent) == "" &&
		!strings.Contains(userAgent, "rowser") && !strings.Contains(userAgent, "lient") && kindOf(userAgent) != device
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' }

// word is one of words, without the spaces that say where it has to begin or end.
type word struct {
	text       string
	begin, end bool
	is         int
}

// words are found by five bits each of their first two characters.
type words [1 << 10][]word

func newWords(all ...string) *words {
	w := new(words)
	w.add(1, all)
	return w
}

func (w *words) add(is int, all []string) {
	for _, text := range all {
		trimmed := strings.Trim(text, " ")
		i := wordIndex(trimmed)
		w[i] = append(w[i], word{trimmed, text[0] == ' ', text[len(text)-1] == ' ', is})
	}
}

// prefix returns the word that s begins with, "" for none.
func (w *words) prefix(s string) string {
	if len(s) >= 2 {
		for _, word := range w[wordIndex(s)] {
			if hasPrefixFold(s, word.text) {
				return word.text
			}
		}
	}
	return ""
}

// at returns what the words are that stand in s at i, 0 for none.
func (w *words) at(s string, i int) (found int) {
	for _, word := range w[wordIndex(s[i:])] {
		if hasPrefixFold(s[i:], word.text) && (!word.begin || beginsWord(s, i)) && (!word.end || endsWord(s, i+len(word.text))) {
			found |= word.is
		}
	}
	return found
}

// beginsWord reports whether a word begins in s at i: "bot" is one in "LinkedInBot".
func beginsWord(s string, i int) bool {
	return i == 0 || !isAlnum(s[i-1]) || !isAlnum(s[i]) || isUpper(s[i]) && !isUpper(s[i-1]) && isLetter(s[i-1])
}

// endsWord reports whether a word ends in s before i. A number may follow it.
func endsWord(s string, i int) bool {
	return i == len(s) || !isLetter(s[i]) || !isAlnum(s[i-1]) || isUpper(s[i]) && !isUpper(s[i-1])
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

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
