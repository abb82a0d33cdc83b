module github.com/revisit-go/revisit/redisstore

go 1.26.0

replace github.com/revisit-go/revisit => ../

require (
	github.com/redis/rueidis v1.0.79
	github.com/revisit-go/revisit v0.0.0
	github.com/stretchr/testify v1.8.0
)

require (
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
