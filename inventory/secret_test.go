package inventory

import (
	"strings"
	"testing"

	"fleetssh"
)

// A password without quotes stands in the place of a name or a setting.
func TestErrorsShowNoValue(t *testing.T) {
	t.Parallel()
	const secret = "S3CRET"
	for _, archive := range []string{
		"-- hosts --\nh1 ansible_password=a S3CRET\n",
		"-- hosts --\nh1 ansible_password=a S3CRET ansible_user=x\n",
		"-- hosts --\nh1 ansible_become_password={{ S3CRET }}\n",
		"-- hosts --\nh1 ansible_password:S3CRET\n",
		"-- hosts --\n[web]\nansible_password = S3CRET\n",
		"-- hosts --\n[web]\nh1,ansible_password=S3CRET\n",
		"-- hosts --\n[web]\nh1[ansible_password=S3CRET\n",
		"-- hosts --\n[web]\nansible_password=S3CRET:\n",
		"-- hosts --\n[web:vars]\nansible_password: S3CRET\n",
		"-- hosts --\n[web:vars]\nansible_password=a\n  S3CRET\n",
		"-- hosts --\n[web:children]\nansible_password=S3CRET\n",
		"-- hosts --\n[web:children]\nansible_password = S3CRET\n",
		"-- a.yml --\nall:\n  hosts:\n    h1:\n      ansible_password: *S3CRET\n",
		"-- a.yml --\nall:\n  hosts:\n    h1:\n      ansible_password: &S3CRET\n        a: *S3CRET\n",
		"-- a.yml --\nall:\n  hosts:\n    h1:\n      ansible_password: !S3CRET\n",
		"-- a.yml --\nall:\n  hosts:\n    h1:\n      ansible_password: !S3CRET more\n",
		"-- a.yml --\nall:\n  hosts:\n    h1:\n      ansible_password: [S3CRET\n",
		"-- hosts --\nh1\n-- host_vars/h1.yml --\nansible_password: *S3CRET\n",
	} {
		_, err := load(t, archive, fleetssh.HostConfig{})
		if err == nil {
			t.Errorf("%q: no error", archive)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", archive, err)
		}
	}
}
