package proxies

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/internal/servers"
)

// A proxy is one in one configuration.
type proxy struct {
	name    string
	program string // looked for in the PATH and in /usr/sbin
	args    []string
	// config is the whole configuration: DIR is a temporary folder, LISTEN the
	// address to listen at and PORT its port, and {{name}} a block of docs/deploy.md.
	config string

	cache   bool   // it keeps what may be kept
	env     string // one more variable of the environment
	negates bool   // it is here to show what happens without the setting: no tag comes back
	strips  bool   // it asks the site without the client's conditions, but for those with a token
	mixes   bool   // it takes variants for one another, and gives parts under status 200, whatever the handler is

	forced time.Duration // how long it keeps what says nothing of that
}

const nginxFrame = `
load_module /usr/lib/nginx/modules/ngx_http_brotli_filter_module.so;
daemon off; user root; worker_processes 1; pid DIR/pid; error_log DIR/error.log;
events { }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	proxy_cache_path DIR/cache keys_zone=shop:1m;
	%s
	server { listen LISTEN; location / { %s } }
}`

const apacheFrame = `
ServerRoot "DIR"
PidFile "DIR/pid"
ErrorLog "DIR/error.log"
DefaultRuntimeDir "DIR"
Listen LISTEN
ServerName shop.example
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
LoadModule brotli_module /usr/lib/apache2/modules/mod_brotli.so
LoadModule cache_module /usr/lib/apache2/modules/mod_cache.so
LoadModule cache_disk_module /usr/lib/apache2/modules/mod_cache_disk.so
CacheRoot "DIR/cache"
`

const varnishFrame = `vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "ORIGINPORT"; }
`

var varnishArgs = []string{"-F", "-j", "none", "-a", "LISTEN", "-f", "DIR/config", "-n", "DIR/work", "-s", "malloc,16m", "-T", "none"}

var proxies = []proxy{
	{
		name: "nginx", program: "nginx", args: []string{"-c", "DIR/config", "-e", "DIR/error.log"},
		config: fmt.Sprintf(nginxFrame, "", "{{nginx}}"),
	}, {
		name: "nginx-cache", program: "nginx", args: []string{"-c", "DIR/config", "-e", "DIR/error.log"},
		config: fmt.Sprintf(nginxFrame, "{{nginx-cache-map}}", "{{nginx-cache}}"), cache: true, strips: true,
	}, {
		name: "nginx-cache without the setting", program: "nginx", args: []string{"-c", "DIR/config", "-e", "DIR/error.log"},
		config: fmt.Sprintf(nginxFrame, "", "proxy_pass http://127.0.0.1:8080; proxy_cache shop;"), cache: true, strips: true, negates: true,
	}, {
		name: "apache", program: "apache2", args: []string{"-f", "DIR/config", "-DFOREGROUND"},
		config: apacheFrame + "{{apache}}",
	}, {
		name: "apache-cache", program: "apache2", args: []string{"-f", "DIR/config", "-DFOREGROUND"},
		config: apacheFrame + "{{apache-cache}}", cache: true,
	}, {
		name: "varnish", program: "varnishd", args: varnishArgs,
		config: varnishFrame + "{{varnish}}", cache: true, strips: true,
	}, {
		name: "varnish without the setting", program: "varnishd", args: varnishArgs,
		config: varnishFrame, cache: true, strips: true, negates: true,
	}, {
		name: "haproxy", program: "haproxy", args: []string{"-f", "DIR/config", "-db"}, cache: true,
		config: "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n" +
			"{{haproxy}}",
	}, {
		name: "caddy", program: "caddy", args: []string{"run", "--config", "DIR/config", "--adapter", "caddyfile"}, env: "HOME=DIR",
		config: "{\n admin off\n auto_https off\n}\nhttp://:PORT {\n bind 127.0.0.1\n{{caddy}}\n}\n",
	}, {
		name: "squid", program: "squid", args: []string{"-N", "-f", "DIR/config"}, cache: true, mixes: true,
		config: "{{squid}}\npid_filename DIR/pid\naccess_log none\ncache_log DIR/error.log\ncache_store_log none\ncoredump_dir DIR\n" +
			"shutdown_lifetime 0 seconds\nnetdb_filename none\npinger_enable off\nvisible_hostname shop.example\n",
	}, {
		name: "lighttpd", program: "lighttpd", args: []string{"-D", "-f", "DIR/config"},
		config: "server.document-root = \"DIR\"\nserver.port = PORT\nserver.bind = \"127.0.0.1\"\nserver.errorlog = \"DIR/error.log\"\n" +
			"server.modules = ()\n{{lighttpd}}",
	},
}

// blocks are the named blocks of code in docs/deploy.md.
var blocks = sync.OnceValue(func() map[string]string {
	text, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		panic(err)
	}
	found := make(map[string]string)
	for _, m := range regexp.MustCompile("(?ms)^```[a-z]+ ([a-z-]+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
})

var placeholder = regexp.MustCompile(`\{\{([a-z-]+)\}\}`)

// documentedIn puts the blocks of docs/deploy.md into a configuration.
func documentedIn(config string) string {
	return placeholder.ReplaceAllStringFunc(config, func(s string) string {
		block, ok := blocks()[s[2:len(s)-2]]
		if !ok {
			panic("docs/deploy.md has no block " + s)
		}
		return block
	})
}

// start starts the proxy in front of the server at origin, and returns its address.
func (p proxy) start(t *testing.T, origin string) string {
	t.Helper()
	path, err := exec.LookPath(p.program)
	if err != nil {
		path = "/usr/sbin/" + p.program
		_, err = os.Stat(path)
	}
	require.NoError(t, err, "%s is missing: run make deps", p.program)

	dir, err := os.MkdirTemp("", "proxy") // short: that of a socket has 107 bytes at most
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777)) // some give root up
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cache"), 0o777))
	require.NoError(t, os.Chmod(filepath.Join(dir, "cache"), 0o777))

	listen := servers.FreeAddress(t)
	_, port, _ := net.SplitHostPort(listen)
	_, originPort, _ := net.SplitHostPort(origin)
	config := documentedIn(p.config)
	// What stands for the operator's own addresses in the documentation.
	config = strings.NewReplacer(
		"127.0.0.1:8080", origin, `"port" => 8080`, `"port" => `+originPort, "parent 8080", "parent "+originPort, "ORIGINPORT", originPort,
		"127.0.0.1:80 ", listen+" ", "bind :80\n", "bind "+listen+"\n",
		"DIR", dir, "LISTEN", listen, "PORT", port,
	).Replace(config)
	file := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o644))

	var args []string
	for _, a := range p.args {
		args = append(args, strings.NewReplacer("DIR", dir, "LISTEN", listen).Replace(a))
	}
	out, err := os.Create(filepath.Join(dir, "output"))
	require.NoError(t, err)
	t.Cleanup(func() {
		out.Close()
		if t.Failed() {
			for _, name := range []string{"output", "error.log"} {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				t.Logf("%s: %s", name, text)
			}
		}
	})
	servers.Process(t, listen, func() *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), strings.ReplaceAll(p.env, "DIR", dir))
		cmd.Stdout, cmd.Stderr = out, out
		return cmd
	})
	return listen
}
