// A client of the original's API as its own Go programs are one: grpc-go, plaintext, and the field numbers that they know.
// Nothing here comes from our schema: messages are read and written by number.
//
//	original_client ADDRESS METHOD [FIELD=VALUE ...]
//
// prints one JSON object: code, message, answer (by name), unknown (numbers of fields that the original does not have), and
// exact: whether the answer, without those, is byte for byte what the original's encoder makes of the same values.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const service = "/dev.ehazlett.heimdall.api.v1.Heimdall/"

type field struct {
	name     string
	message  string // "": a string, or a number where number says so
	number   bool
	repeated bool
}

type message map[protowire.Number]field

var messages = map[string]message{
	"Empty":     {},
	"Timestamp": {1: {name: "seconds", number: true}, 2: {name: "nanos", number: true}},
	"KeyPair":   {1: {name: "private_key"}, 2: {name: "public_key"}},
	"Master": {1: {name: "id"}, 2: {name: "grpc_address"}, 3: {name: "redis_url"}, 4: {name: "gateway_ip"},
		5: {name: "peers", message: "Peer", repeated: true}},
	"Node": {1: {name: "id"}, 2: {name: "addr"}, 3: {name: "keypair", message: "KeyPair"}, 4: {name: "endpoint_ip"},
		5: {name: "endpoint_port", number: true}, 6: {name: "gateway_ip"}, 7: {name: "updated", message: "Timestamp"},
		8: {name: "interface_name"}, 9: {name: "name"}},
	"Peer": {1: {name: "id"}, 2: {name: "keypair", message: "KeyPair"}, 3: {name: "allowed_ips", repeated: true},
		4: {name: "endpoint"}, 5: {name: "peer_ip"}, 6: {name: "name"}},
	"Route":         {1: {name: "node_id"}, 2: {name: "network"}},
	"ID":            {1: {name: "id"}},
	"Network":       {1: {name: "network"}},
	"ConnectAsk":    {1: {name: "id"}, 2: {name: "name"}},
	"ConnectAnswer": {1: {name: "keypair", message: "KeyPair"}, 2: {name: "address"}, 3: {name: "peers", message: "Peer", repeated: true}, 4: {name: "dns", repeated: true}},
	"IDs":           {1: {name: "ids", repeated: true}},
	"JoinAsk": {1: {name: "id"}, 2: {name: "cluster_key"}, 3: {name: "grpc_address"}, 4: {name: "endpoint_ip"},
		5: {name: "endpoint_port", number: true}, 6: {name: "interface_name"}, 7: {name: "name"}},
	"JoinAnswer": {1: {name: "master", message: "Master"}, 2: {name: "node", message: "Node"}, 3: {name: "peers", message: "Peer", repeated: true}},
	"Routes":     {1: {name: "routes", message: "Route", repeated: true}},
	"Nodes":      {1: {name: "nodes", message: "Node", repeated: true}},
	"Peers":      {1: {name: "peers", message: "Peer", repeated: true}},
}

// method -> request, answer
var methods = map[string][2]string{
	"Connect":         {"ConnectAsk", "ConnectAnswer"},
	"AuthorizePeer":   {"ID", "Empty"},
	"DeauthorizePeer": {"ID", "Empty"},
	"AuthorizedPeers": {"Empty", "IDs"},
	"Join":            {"JoinAsk", "JoinAnswer"},
	"Routes":          {"Empty", "Routes"},
	"CreateRoute":     {"Route", "Empty"},
	"DeleteRoute":     {"Network", "Empty"},
	"Nodes":           {"Empty", "Nodes"},
	"Peers":           {"Empty", "Peers"},
}

type raw []byte

// codec hands bytes through; it has the name of the one that the original uses.
type codec struct{}

func (codec) Name() string                     { return "proto" }
func (codec) Marshal(v any) ([]byte, error)    { return *v.(*raw), nil }
func (codec) Unmarshal(in []byte, v any) error { *v.(*raw) = bytes.Clone(in); return nil }

type values map[string]any

// decode reads a message and returns its values, and its bytes without the fields that the original does not know, whose
// numbers go to unknown.
func decode(kind string, in []byte, unknown map[int]bool) (values, []byte, error) {
	out, known := values{}, []byte{}
	for len(in) > 0 {
		number, wire, tag := protowire.ConsumeTag(in)
		if tag < 0 {
			return nil, nil, protowire.ParseError(tag)
		}
		size := protowire.ConsumeFieldValue(number, wire, in[tag:])
		if size < 0 {
			return nil, nil, protowire.ParseError(size)
		}
		whole, body := in[:tag+size], in[tag:tag+size]
		in = in[tag+size:]
		f, ok := messages[kind][number]
		if !ok {
			unknown[int(number)] = true
			continue
		}
		var value any
		if f.number {
			if wire != protowire.VarintType {
				return nil, nil, fmt.Errorf("%s.%s is no number", kind, f.name)
			}
			value, _ = protowire.ConsumeVarint(body)
		} else if wire != protowire.BytesType {
			return nil, nil, fmt.Errorf("%s.%s has wire type %d", kind, f.name, wire)
		} else {
			content, _ := protowire.ConsumeBytes(body)
			value = string(content)
			if f.message != "" {
				inner, innerKnown, err := decode(f.message, content, unknown)
				if err != nil {
					return nil, nil, err
				}
				value = inner
				whole = protowire.AppendBytes(protowire.AppendTag(nil, number, wire), innerKnown)
			}
		}
		known = append(known, whole...)
		if f.repeated {
			list, _ := out[f.name].([]any)
			value = append(list, value)
		}
		out[f.name] = value
	}
	return out, known, nil
}

// encode writes fields in the order of their numbers, without empty ones, as Go's encoder does.
func encode(kind string, in values) []byte {
	numbers := []int{}
	for number := range messages[kind] {
		numbers = append(numbers, int(number))
	}
	sort.Ints(numbers)
	out := []byte{}
	for _, n := range numbers {
		number := protowire.Number(n)
		f := messages[kind][number]
		list, ok := in[f.name].([]any)
		if !ok && in[f.name] != nil {
			list = []any{in[f.name]}
		}
		for _, value := range list {
			switch v := value.(type) {
			case uint64:
				if v != 0 {
					out = protowire.AppendVarint(protowire.AppendTag(out, number, protowire.VarintType), v)
				}
			case string:
				if v != "" || f.repeated {
					out = protowire.AppendString(protowire.AppendTag(out, number, protowire.BytesType), v)
				}
			case values:
				out = protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), encode(f.message, v))
			}
		}
	}
	return out
}

func call(address, method string, words []string) (map[string]any, error) {
	kinds, ok := methods[method]
	if !ok {
		return nil, fmt.Errorf("the original has no method %s", method)
	}
	ask := values{}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		ask[name] = value
		for _, f := range messages[kinds[0]] {
			if f.name == name && f.number {
				n, err := strconv.ParseUint(value, 10, 64)
				if err != nil {
					return nil, err
				}
				ask[name] = n
			}
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, answer := raw(encode(kinds[0], ask)), raw{}
	err = conn.Invoke(ctx, service+method, &request, &answer, grpc.ForceCodec(codec{}))
	said := status.Convert(err)
	result := map[string]any{"code": said.Code().String(), "message": said.Message()}
	if err != nil {
		return result, nil
	}
	unknown := map[int]bool{}
	got, known, err := decode(kinds[1], answer, unknown)
	if err != nil {
		return nil, err
	}
	numbers := []int{}
	for number := range unknown {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	result["answer"], result["unknown"], result["exact"] = got, numbers, bytes.Equal(known, encode(kinds[1], got))
	return result, nil
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "original_client ADDRESS METHOD [FIELD=VALUE ...]")
		os.Exit(2)
	}
	result, err := call(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "original_client:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}
