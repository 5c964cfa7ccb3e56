package sshdtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Token is a FIDO security key in software. Its signatures have the format of OpenSSH's
// PROTOCOL.u2f.
type Token struct {
	// Touch, if set, is called before each signature; an error denies the signature. ctx ends with
	// the agent. Touch must not change once an agent has the token. Calls may overlap.
	Touch func(ctx context.Context) error

	public  ssh.PublicKey
	sign    func(message []byte) []byte
	counter atomic.Uint32
}

const (
	tokenApplication = "ssh:"
	tokenTouched     = 0x01 // the flag for user presence
)

// NewToken makes a token with a key of the kind KindED25519 or KindECDSA.
func NewToken(t testing.TB, kind string) *Token {
	t.Helper()
	k := new(Token)
	var blob []byte
	switch kind {
	case KindED25519:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		blob = ssh.Marshal(struct {
			Type        string
			Key         []byte
			Application string
		}{ssh.KeyAlgoSKED25519, public, tokenApplication})
		k.sign = func(message []byte) []byte { return ed25519.Sign(private, message) }
	case KindECDSA:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		point, err := private.PublicKey.Bytes()
		must(t, err)
		blob = ssh.Marshal(struct {
			Type        string
			Curve       string
			Point       []byte
			Application string
		}{ssh.KeyAlgoSKECDSA256, "nistp256", point, tokenApplication})
		k.sign = func(message []byte) []byte {
			digest := sha256.Sum256(message)
			r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
			if err != nil {
				return nil // no server accepts an empty signature
			}
			return ssh.Marshal(struct{ R, S *big.Int }{r, s})
		}
	default:
		t.Fatalf("unknown kind of token %q", kind)
	}
	var err error
	k.public, err = ssh.ParsePublicKey(blob)
	must(t, err)
	return k
}

// Public returns the public half.
func (k *Token) Public() ssh.PublicKey { return k.public }

// Touches returns how many signatures have been requested.
func (k *Token) Touches() int { return int(k.counter.Load()) }

func (k *Token) signature(ctx context.Context, data []byte) (*ssh.Signature, error) {
	counter := k.counter.Add(1)
	if k.Touch != nil {
		if err := k.Touch(ctx); err != nil {
			return nil, err
		}
	}
	rest := binary.BigEndian.AppendUint32([]byte{tokenTouched}, counter)
	application, message := sha256.Sum256([]byte(tokenApplication)), sha256.Sum256(data)
	signed := bytes.Join([][]byte{application[:], rest, message[:]}, nil)
	return &ssh.Signature{Format: k.public.Type(), Blob: k.sign(signed), Rest: rest}, nil
}

// StartTokenAgent starts an agent in this process. It ends with the test. It lists the keys, then
// the tokens. Like ssh-agent, it answers the requests of a connection one after another.
func StartTokenAgent(t testing.TB, keys []*Key, tokens ...*Token) (socket string) {
	t.Helper()
	keyring := agent.NewKeyring()
	for _, key := range keys {
		must(t, keyring.Add(agent.AddedKey{PrivateKey: key.Private}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := &tokenAgent{Agent: keyring, ctx: ctx, tokens: tokens}
	socket = filepath.Join(SharedDir(t), "tokens")
	listener, err := net.Listen("unix", socket)
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				agent.ServeAgent(served, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		cancel()
		wg.Wait()
	})
	return socket
}

// tokenAgent is an agent that has tokens in addition to other keys.
type tokenAgent struct {
	agent.Agent
	ctx    context.Context // of the agent
	tokens []*Token
}

// List implements [agent.Agent].
func (a *tokenAgent) List() ([]*agent.Key, error) {
	keys, err := a.Agent.List()
	for _, k := range a.tokens {
		keys = append(keys, &agent.Key{Format: k.public.Type(), Blob: k.public.Marshal(), Comment: "token"})
	}
	return keys, err
}

// Sign implements [agent.Agent].
func (a *tokenAgent) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return a.SignWithFlags(key, data, 0)
}

// SignWithFlags implements [agent.ExtendedAgent].
func (a *tokenAgent) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	for _, k := range a.tokens {
		if bytes.Equal(k.public.Marshal(), key.Marshal()) {
			return k.signature(a.ctx, data)
		}
	}
	return a.Agent.(agent.ExtendedAgent).SignWithFlags(key, data, flags)
}

// Extension implements [agent.ExtendedAgent].
func (a *tokenAgent) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}

// Smartcard is a PKCS#11 token in software (SoftHSM).
type Smartcard struct {
	dir     string
	library string
}

const smartcardPIN = "246810"

// NewSmartcard makes a smartcard with keys. It sets SOFTHSM2_CONF for the rest of the test, so that
// programs started later find this card.
func NewSmartcard(t testing.TB, keys ...*Key) *Smartcard {
	t.Helper()
	c := &Smartcard{dir: t.TempDir(), library: smartcardLibrary(t)}
	tokens, config := filepath.Join(c.dir, "tokens"), filepath.Join(c.dir, "softhsm2.conf")
	must(t, os.Mkdir(tokens, 0o700))
	must(t, os.WriteFile(config, []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", config)
	util := Program(t, "softhsm2-util")
	must(t, run("", util, "--init-token", "--free", "--label", "test", "--pin", smartcardPIN, "--so-pin", smartcardPIN))
	for i, key := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(key.Private)
		must(t, err)
		file := filepath.Join(c.dir, "key.pem")
		must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
		must(t, run("", util, "--import", file, "--token", "test", "--pin", smartcardPIN, "--label", "test", "--id", fmt.Sprintf("%02x", i+1)))
		must(t, os.Remove(file))
	}
	return c
}

// smartcardLibrary returns the path of the PKCS#11 library without symbolic links: ssh-agent checks
// the resolved path.
func smartcardLibrary(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/softhsm", "/usr/lib/*/softhsm", "/usr/lib64/softhsm", "/usr/lib64/pkcs11", "/usr/local/lib/softhsm"} {
		found, _ := filepath.Glob(filepath.Join(pattern, "libsofthsm2.so"))
		for _, path := range found {
			if path, err := filepath.EvalSymlinks(path); err == nil {
				return path
			}
		}
	}
	t.Fatal("libsofthsm2.so is not installed: run .ci/prepare")
	return ""
}

// AddSmartcard adds the keys on a card to the agent, with ssh-add -s. The agent must have been
// started after the card was made.
func (a *Agent) AddSmartcard(t testing.TB, c *Smartcard) {
	t.Helper()
	must(t, a.smartcard(t, c, smartcardPIN))
}

// AddSmartcardWrongPIN is AddSmartcard with a wrong PIN. It returns ssh-add's error.
func (a *Agent) AddSmartcardWrongPIN(t testing.TB, c *Smartcard) error {
	t.Helper()
	return a.smartcard(t, c, "x"+smartcardPIN)
}

func (a *Agent) smartcard(t testing.TB, c *Smartcard, pin string) error {
	t.Helper()
	ask := filepath.Join(c.dir, "askpass")
	WriteProgram(t, ask, "#!/bin/sh\necho "+pin+"\n")
	add := exec.Command(Program(t, "ssh-add"), "-s", c.library)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+a.Socket, "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force")
	if out, err := add.CombinedOutput(); err != nil {
		return errors.New("ssh-add -s: " + strings.TrimSpace(string(out)))
	}
	return nil
}
