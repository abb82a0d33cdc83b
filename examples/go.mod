module github.com/revisit-go/revisit/examples

go 1.26.0

require github.com/revisit-go/revisit v0.0.0

replace github.com/revisit-go/revisit => ../
