// Runs Argo CD health checks the way Argo CD does in production: gopher-lua with neither string nor os library, the object
// as the global obj, and for every health_test.yaml below the folder given each test's input. Prints one JSON line per test:
// {"kind","input","want":{"status","message"},"got":{…},"error"}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type suite struct {
	Tests []struct {
		HealthStatus health `json:"healthStatus"`
		InputPath    string `json:"inputPath"`
	} `json:"tests"`
}

type result struct {
	Kind  string `json:"kind"`
	Input string `json:"input"`
	Want  health `json:"want"`
	Got   health `json:"got"`
	Error string `json:"error,omitempty"`
}

func main() {
	suites, err := filepath.Glob(filepath.Join(os.Args[1], "*", "*", "health_test.yaml"))
	if err != nil || len(suites) == 0 {
		fmt.Fprintf(os.Stderr, "no health_test.yaml below %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	output := json.NewEncoder(os.Stdout)
	for _, path := range suites {
		var tests suite
		read(path, &tests)
		folder := filepath.Dir(path)
		script, err := os.ReadFile(filepath.Join(folder, "health.lua"))
		fail(err)
		for _, test := range tests.Tests {
			var object map[string]any
			read(filepath.Join(folder, test.InputPath), &object)
			line := result{Kind: filepath.Base(folder), Input: filepath.Base(test.InputPath), Want: test.HealthStatus}
			if line.Got, err = check(string(script), object); err != nil {
				line.Error = err.Error()
			}
			fail(output.Encode(line))
		}
	}
}

// check returns what the script says about the object. Only the libraries that Argo CD opens are open.
func check(script string, object map[string]any) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		err := state.CallByParam(lua.P{Fn: state.NewFunction(library.open), Protect: true}, lua.LString(library.name))
		if err != nil {
			return health{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returned %s, expected a table", state.Get(-1).Type())
	}
	return health{Status: table.RawGetString("status").String(), Message: table.RawGetString("message").String()}, nil
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.NewTable()
		for _, each := range from {
			table.Append(value(state, each))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, each := range from {
			table.RawSetString(key, value(state, each))
		}
		return table
	}
	panic(fmt.Sprintf("no Lua value for %T", from))
}

func read(path string, into any) {
	text, err := os.ReadFile(path)
	fail(err)
	fail(yaml.UnmarshalStrict(text, into))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
