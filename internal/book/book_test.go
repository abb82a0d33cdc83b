package book

import (
	"bytes"
	"database/sql"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/servers"
)

const root = "../.."

// A block is a fenced block of code.
type block struct {
	page string // its file, from the root
	line int
	lang string
	name string // what stands behind the language
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// pages are all that a newcomer reads.
func pages(t *testing.T) []string {
	var found []string
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "docs/decisions/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, p := range paths {
			p, err := filepath.Rel(root, p)
			require.NoError(t, err)
			found = append(found, p)
		}
	}
	return found
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}

func blocks(t *testing.T) []block {
	var found []block
	for _, page := range pages(t) {
		var open *block
		indent := ""
		for i, line := range strings.Split(read(t, page), "\n") {
			text := strings.TrimLeft(line, " ")
			switch {
			case open == nil && strings.HasPrefix(text, "```"):
				lang, name, _ := strings.Cut(text[3:], " ")
				open, indent = &block{page: page, line: i + 1, lang: lang, name: name}, line[:len(line)-len(text)]
			case open != nil && text == "```":
				found = append(found, *open)
				open = nil
			case open != nil:
				open.text += strings.TrimPrefix(line, indent) + "\n"
			}
		}
		require.Nil(t, open, "%s: a block has no end", page)
	}
	return found
}

// Each block is somebody's: one that nobody compiles or runs fails here.
func TestEachBlockIsCompiledOrRun(t *testing.T) {
	own := map[string]string{ // by page and language, or page and name
		"README.md html": "TestTheTagInAPage", "docs/beacon.md html": "TestTheTagInAPage",
		"docs/beacon.md ": "TestTheContentSecurityPolicy", "docs/beacon.md js": "TestAServiceWorkerCostsNoPageView", "docs/fingerprint.md thumbmark": "TestScriptsAreScripts",
		"README.md sh": "TestTheREADMEByHand", "docs/performance.md sh": "TestTheTargetsAreThere", "docs/start.md start": "TestStart",
		"docs/orders.md sql": "TestOrders", "docs/stores.md sql": "TestTheQuestionsOfTheDocumentation",
	}
	for name := range strings.SplitSeq("nginx nginx-cache-map nginx-cache apache apache-cache varnish haproxy caddy squid lighttpd", " ") {
		own["docs/deploy.md "+name] = "TestRecognisedBehind"
		assert.Contains(t, read(t, "e2e/proxies/servers_test.go"), "{{"+name+"}}")
	}
	tests := testNames(t)
	used := make(map[string]bool)
	for _, b := range blocks(t) {
		switch {
		case b.lang == "go" && strings.HasSuffix(b.name, ".go"):
			assert.Contains(t, read(t, b.name), b.text, "%v is not what stands in %s", b, b.name)
		case b.lang == "go" && b.name == "":
			// TestGoCompiles
		default:
			key := b.page + " " + b.name
			if b.name == "" {
				key = b.page + " " + b.lang
			}
			name, ok := own[key]
			if assert.True(t, ok, "%v: a block of %q %q that no test compiles or runs", b, b.lang, b.name) {
				assert.True(t, tests[name], name)
				used[key] = true
			}
		}
	}
	for key := range own {
		assert.True(t, used[key], "there is no block %q", key)
	}
}

// What the fragments are about, page by page.
var preludes = map[string]string{
	"README.md": `var (
		key []byte
		server *http.Server
		mux *http.ServeMux
		shop http.Handler
		tracker *revisit.Tracker
		s *revisit.Session
		order struct{ Visitor, Campaign string; Cents int64; Time time.Time }
		customer struct{ ID string }
	)`,
	"docs/beacon.md": `var (
		mux *http.ServeMux
		shop http.Handler
		tracker *revisit.Tracker
	)`,
	"docs/fingerprint.md": `var (
		server *http.Server
		r *http.Request
	)`,
	"docs/orders.md": `
	var db *sql.DB
	type shop struct { db *sql.DB }
	type Order struct { Number string; Cents int64; Time time.Time }`,
	"docs/stores.md": `var (
		ctx context.Context
		t *testing.T
		tracker *revisit.Tracker
		scanner *bufio.Scanner
	)
	func open(*testing.T) revisit.Store { return nil }`,
	"docs/migrate.md": `var (
		db *sql.DB
		r *http.Request
		old string
	)`,
	"docs/strategies.md": "",
}

var imports = map[string]string{
	"attribution": "github.com/revisit-go/revisit/attribution", "ja4": "github.com/revisit-go/revisit/ja4", "revisit": "github.com/revisit-go/revisit",
	"storetest": "github.com/revisit-go/revisit/storetest", "sqlitestore": "github.com/revisit-go/revisit/sqlitestore",
	"pgstore": "github.com/revisit-go/revisit/pgstore", "redisstore": "github.com/revisit-go/revisit/redisstore",
	"pgxpool": "github.com/jackc/pgx/v5/pgxpool", "rueidis": "github.com/redis/rueidis",
	"bufio": "bufio", "context": "context", "sql": "database/sql", "fmt": "fmt", "log": "log", "http": "net/http", "netip": "net/netip",
	"os": "os", "signal": "os/signal", "strings": "strings", "syscall": "syscall", "testing": "testing", "time": "time",
}

// importsOf returns the import declaration that a text needs.
func importsOf(text string) string {
	var lines []string
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(text) {
			lines = append(lines, fmt.Sprintf("import %s %q\n", name, path))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

var (
	topLevel  = regexp.MustCompile(`(?m)^func .*\{\n(?:.*\n)*?\}\n`)
	fieldOnly = regexp.MustCompile(`^[A-Z]\w*: `)
	valueOnly = regexp.MustCompile(`^revisit\.\w+\{.*\}\n$`)
)

// Every fragment of Go is a part of a program that compiles.
func TestGoCompiles(t *testing.T) {
	dir, err := os.MkdirTemp(".", "zz_") // in this module, for its go.mod
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	counts := make(map[string]int)
	for _, b := range blocks(t) {
		if b.lang != "go" || b.name != "" {
			continue
		}
		prelude, ok := preludes[b.page]
		require.True(t, ok, "%v: what is it about? see preludes", b)
		n := counts[b.page]
		counts[b.page]++
		functions := strings.Join(topLevel.FindAllString(b.text, -1), "\n")
		body := topLevel.ReplaceAllString(b.text, "")
		switch {
		case fieldOnly.MatchString(body):
			body = "_ = revisit.Config{\n" + body + "\n}"
		case valueOnly.MatchString(body):
			body = "_ = " + body
		}
		text := fmt.Sprintf("%s\n%s\nfunc block() error {\n%s\nreturn nil\n}\n", prelude, functions, body)
		folder := filepath.Join(dir, strings.NewReplacer("/", "_", ".", "_").Replace(b.page)+fmt.Sprint(n))
		require.NoError(t, os.Mkdir(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "block.go"), []byte("// "+b.String()+"\npackage block\n"+importsOf(text)+text), 0o644))
	}
	assert.Greater(t, len(counts), 5)
	// A fragment need not use all that it declares.
	out, err := exec.Command("go", "build", "-gcflags=-e", "./"+dir+"/...").CombinedOutput()
	faults := regexp.MustCompile(`(?m)^(?:# .*|.*declared and not used: .*)\n`).ReplaceAllString(string(out), "")
	assert.Empty(t, faults)
	if err != nil {
		assert.Contains(t, string(out), "declared and not used")
	}
}

// testNames are all tests of the repository.
func testNames(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	require.NoError(t, err)
	return names
}

// partsOf are the files that name the parts of a test.
var partsOf = map[string]string{
	"TestRecognisedBehind": "e2e/proxies/servers_test.go", "TestNoTokenLeaks": "e2e/proxies/servers_test.go", "TestACacheChangesNothing": "e2e/proxies/servers_test.go",
	"TestEveryRouter": "routers/main.go", "TestEveryProtocol": "e2e/protocols_test.go",
}

// Each test that a page names is there; and each row of the tables of http.md and
// deploy.md names one.
func TestDocumentedTestsExist(t *testing.T) {
	names := testNames(t)
	n := 0
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)(?:/([^`]+))?`").FindAllStringSubmatch(read(t, page), -1) {
			n++
			assert.True(t, names[m[1]], "%s: there is no %s", page, m[1])
			if m[2] == "" {
				continue
			}
			// A part of a test is named by what the test goes through.
			file, ok := partsOf[m[1]]
			if assert.True(t, ok, "%s: %s has no parts that this test knows of", page, m[1]) {
				assert.Contains(t, read(t, file), `"`+m[2]+`"`, "%s: there is no %s/%s", page, m[1], m[2])
			}
		}
	}
	assert.Greater(t, n, 200)
	for _, page := range []string{"docs/http.md", "docs/deploy.md", "docs/routers.md"} {
		rows := 0
		for _, table := range strings.Split(read(t, page), "\n\n") {
			lines := strings.Split(strings.TrimSpace(table), "\n")
			if !strings.HasPrefix(lines[0], "|") || !regexp.MustCompile(`\| (test|proved by) \|$`).MatchString(lines[0]) {
				continue
			}
			for _, line := range lines[2:] {
				rows++
				assert.Regexp(t, "`(Test|Fuzz)[A-Z]", line[strings.LastIndex(line[:len(line)-1], "|"):], "%s: a row without a test", page)
			}
		}
		assert.Greater(t, rows, 3, page)
	}
}

// Links lead somewhere, within pages, too.
func TestLinksLead(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchors := func(page string) map[string]bool {
		found := make(map[string]bool)
		for _, m := range heading.FindAllStringSubmatch(read(t, page), -1) {
			name := strings.ToLower(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(m[1], ""))
			found[strings.ReplaceAll(name, " ", "-")] = true
		}
		return found
	}
	n := 0
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src)="([^"]+)"`).FindAllStringSubmatch(read(t, page), -1) {
			link := m[1] + m[2]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "/") {
				continue
			}
			n++
			path, fragment, _ := strings.Cut(link, "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			_, err := os.Stat(filepath.Join(root, target))
			if assert.NoError(t, err, "%s: %s", page, link) && fragment != "" {
				assert.True(t, anchors(target)[fragment], "%s: %s", page, link)
			}
		}
	}
	assert.Greater(t, n, 50)
}

// The commands that pages name are targets of the Makefile.
func TestTheTargetsAreThere(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(read(t, page), -1) {
			assert.Regexp(t, `(?m)^`+m[1]+`:`, makefile, page)
		}
	}
}

// The tag in a page is what beacon.md says, but for the version of the script.
func TestTheTagInAPage(t *testing.T) {
	tracker, err := revisit.New(revisit.Config{Consent: revisit.OptOut("no"), Keys: [][]byte{make([]byte, 32)}})
	require.NoError(t, err)
	defer tracker.Close()
	_ = tracker.Beacon()
	var tag template.HTML
	tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tag = revisit.Tag(r.Context()) })).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	version := regexp.MustCompile(`v=[0-9a-f]+`)
	require.Regexp(t, version, tag)
	n := 0
	for _, b := range blocks(t) {
		if b.lang != "html" || b.name != "" {
			continue
		}
		n++
		if !strings.Contains(b.text, "{{") {
			assert.Equal(t, version.ReplaceAllString(string(tag), "v="), strings.TrimSpace(version.ReplaceAllString(b.text, "v=")), b)
			continue
		}
		page, err := template.New("page").Parse(b.text)
		require.NoError(t, err, b)
		var out bytes.Buffer
		require.NoError(t, page.Execute(&out, struct{ Tag template.HTML }{tag}))
		assert.Contains(t, out.String(), string(tag), b)
	}
	assert.Equal(t, 3, n)
}

// The policy of beacon.md allows no more, and no less, than the one that the tests in
// browsers run under, but for their styles.
func TestTheContentSecurityPolicy(t *testing.T) {
	tested := regexp.MustCompile(`const policy = "(.*)"`).FindStringSubmatch(read(t, "e2e/site_test.go"))[1]
	for _, b := range blocks(t) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(b.text), "Content-Security-Policy: "); ok {
			for directive := range strings.SplitSeq(policy, "; ") {
				if !strings.HasPrefix(directive, "default-src") {
					assert.Contains(t, tested, directive)
				}
			}
			for directive := range strings.SplitSeq(tested, "; ") {
				if !strings.HasPrefix(directive, "default-src") && !strings.HasPrefix(directive, "style-src") {
					assert.Contains(t, policy, directive)
				}
			}
		}
	}
}

// Scripts in pages are scripts, by the word of node.
func TestScriptsAreScripts(t *testing.T) {
	for _, b := range blocks(t) {
		if b.name != "thumbmark" {
			continue
		}
		_, script, ok := strings.Cut(b.text, `<script type="module">`)
		require.True(t, ok)
		script, _, ok = strings.Cut(script, "</script>")
		require.True(t, ok)
		file := filepath.Join(t.TempDir(), "x.mjs")
		require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
		out, err := exec.Command("node", "--check", file).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

// The tables and the statements of orders.md work together.
func TestOrders(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "orders.db"))
	require.NoError(t, err)
	defer db.Close()
	n := 0
	for _, b := range blocks(t) {
		if b.page != "docs/orders.md" {
			continue
		}
		if b.lang == "sql" {
			_, err := db.Exec(b.text)
			require.NoError(t, err, b)
		}
		for _, m := range regexp.MustCompile("`((?:INSERT|UPDATE) [^`]*)`").FindAllStringSubmatch(b.text, -1) {
			args := make([]any, strings.Count(m[1], "?"))
			for i := range args {
				args[i] = fmt.Sprint(i)
			}
			_, err := db.Exec(m[1], args...)
			require.NoError(t, err, "%v: %s", b, m[1])
			n++
		}
	}
	assert.GreaterOrEqual(t, n, 4)
}

// run runs a block in bash.
func run(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// What the README has one do by hand works: curl against the shop, and the import.
func TestTheREADMEByHand(t *testing.T) {
	work := t.TempDir()
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(top, filepath.Join(work, "revisit")))
	for _, b := range blocks(t) {
		if b.page != "README.md" || b.lang != "sh" {
			continue
		}
		switch {
		case strings.HasPrefix(b.text, "make "): // TestTheTargetsAreThere
		case strings.HasPrefix(b.text, "go mod edit"):
			app := filepath.Join(work, "app")
			require.NoError(t, os.Mkdir(app, 0o755))
			run(t, app, "go mod init example.com/app")
			edit, tidy, ok := strings.Cut(b.text, "# import")
			require.True(t, ok)
			require.NoError(t, os.WriteFile(filepath.Join(app, "main.go"), []byte("package main\n\nimport _ \"github.com/revisit-go/revisit\"\n\nfunc main() {}\n"), 0o600))
			run(t, app, edit+"# import"+tidy+"go build .")
		case strings.HasPrefix(b.text, "url="):
			program := filepath.Join(work, "shop")
			run(t, filepath.Join(top, "examples"), "go build -o "+program+" ./shop")
			address := servers.FreeAddress(t)
			start(t, address, program, "-addr", address, "-strategy", "etag", "-consent", "granted")
			out := run(t, work, strings.ReplaceAll(b.text, "127.0.0.1:8080", address))
			ids := regexp.MustCompile(`(?i)x-session-id: (\S+)`).FindAllStringSubmatch(out, -1)
			require.Len(t, ids, 2, out)
			assert.Contains(t, out, "304")
			assert.NotEqual(t, ids[0][1], ids[1][1], "the first curl was somebody else: it kept no tag")
		default:
			t.Errorf("%v: nobody knows how to run it", b)
		}
	}
}

// start starts a program that listens at an address.
func start(t *testing.T, address, program string, args ...string) {
	servers.Process(t, address, func() *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Dir = t.TempDir()
		return cmd
	})
}

// Who follows start.md has a program that recognises him.
func TestStart(t *testing.T) {
	work := t.TempDir()
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(top, filepath.Join(work, "revisit")))
	var scripts []string
	program := ""
	for _, b := range blocks(t) {
		switch {
		case b.page != "docs/start.md":
		case b.lang == "go":
			program = b.text
		default:
			scripts = append(scripts, b.text)
		}
	}
	require.Len(t, scripts, 2)
	run(t, work, scripts[0])
	address := servers.FreeAddress(t)
	require.Contains(t, program, "127.0.0.1:8081")
	require.NoError(t, os.WriteFile(filepath.Join(work, "shop", "main.go"), []byte(strings.ReplaceAll(program, "127.0.0.1:8081", address)), 0o600))
	require.Contains(t, scripts[1], "go run .")
	run(t, filepath.Join(work, "shop"), strings.ReplaceAll(scripts[1], "go run .", "go build -o program ."))
	start(t, address, filepath.Join(work, "shop", "program"))

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	get := func() string {
		resp, err := client.Get("http://" + address + "/")
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	assert.Contains(t, get(), "Nobody knows you")
	resp, err := client.PostForm("http://"+address+"/consent", url.Values{})
	require.NoError(t, err)
	resp.Body.Close()
	again := get()
	assert.Contains(t, again, "known by cookie")
	assert.Contains(t, again, "page 2")
}
