package bench

import "testing"

func Benchmark(b *testing.B) {
	for _, c := range Cases() {
		b.Run(c.Group+"/"+c.Name, c.Run)
	}
}

// Each case must run. The time is the flag's: -benchtime 1x.
func TestCases(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Group+"/"+c.Name, func(t *testing.T) {
			if r := testing.Benchmark(c.Run); r.N == 0 {
				t.Fatal("the case has failed")
			}
		})
	}
}
