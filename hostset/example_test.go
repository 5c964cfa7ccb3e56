package hostset_test

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"fleetssh/hostset"
)

func Example() {
	all, err := hostset.Parse("web[08-11],db[1-2]!web10", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for name := range all.All() {
		fmt.Println(name)
	}
	fmt.Println(all.Len(), "hosts in", all)
	// Output:
	// db1
	// db2
	// web08
	// web09
	// web11
	// 5 hosts in db[1-2],web[08-09,11]
}

func ExampleGroups() {
	groups := func(name string) (string, error) {
		if name == "web" {
			return "web[1-4]", nil
		}
		return "", errors.New("unknown group")
	}
	fmt.Println(hostset.Parse("@web!web3", groups))
	fmt.Println(hostset.Parse("@db", groups))
	// Output:
	// web[1-2,4] <nil>
	//  host set "@db": offset 0: @db: unknown group
}

func ExampleParseError() {
	_, err := hostset.Parse("db1,web[5-3]", nil)
	fmt.Println(err)
	if bad, ok := errors.AsType[*hostset.ParseError](err); ok {
		fmt.Println(bad.Expr)
		fmt.Printf("%*s^\n", bad.Offset, "")
	}
	// Output:
	// host set "db1,web[5-3]": offset 8: the range "5-3" ends before it starts
	// db1,web[5-3]
	//         ^
}

func ExampleOf() {
	fmt.Println(hostset.Of("rack2n1", "rack1n1", "rack2n2", "rack1n2"))
	// Output: rack[1-2]n[1-2]
}

func ExampleSet_Split() {
	for _, part := range hostset.Of("n1", "n2", "n3", "n4", "n5").Split(2) {
		fmt.Println(part)
	}
	// Output:
	// n[1-3]
	// n[4-5]
}

func ExampleSet_Difference() {
	all, done := hostset.Of("n1", "n2", "n3"), hostset.Of("n2")
	fmt.Println(all.Difference(done))
	// Output: n[1,3]
}

func ExampleSet() {
	a, b := hostset.Of("n1", "n2", "n3"), hostset.Of("n3", "n10")
	fmt.Println(a.Union(b), a.Intersect(b), a.SymmetricDifference(b))
	fmt.Println(a.Contains("n2"), b.Index("n10"), b.Index("n1"))
	fmt.Println(a.First(2).Names())
	// Output:
	// n[1-3,10] n3 n[1-2,10]
	// true 1 -1
	// [n1 n2]
}

func ExampleParse() {
	for _, expr := range []string{
		"web[1-3],db1",
		"rack[1-2]n[0-9/3]",
		"web[1-10] ! web[3-5]",
		"web[1-5] & web[4-9]",
		"web[1-3] ^ web[2-4]",
	} {
		set, err := hostset.Parse(expr, nil)
		fmt.Println(set, err)
	}
	// Output:
	// db1,web[1-3] <nil>
	// rack[1-2]n[0,3,6,9] <nil>
	// web[1-2,6-10] <nil>
	// web[4-5] <nil>
	// web[1,4] <nil>
}

func ExampleParse_wildcards() {
	known := func(name string) (string, error) {
		if name == "*" {
			return "web[1-12],db[1-2]", nil
		}
		return "", errors.New("unknown group")
	}
	fmt.Println(hostset.Parse("web?!web[2-3]", known))
	fmt.Println(hostset.Parse("@*!web*", known))
	// Output:
	// web[1,4-9] <nil>
	// db[1-2] <nil>
}

func ExampleSet_Pick() {
	all := hostset.Of("n1", "n2", "n3", "n4", "n5")
	random := rand.New(rand.NewPCG(1, 2))
	fmt.Println(all.Pick(2, random).Len(), all.Pick(9, random))
	// Output: 2 n[1-5]
}
