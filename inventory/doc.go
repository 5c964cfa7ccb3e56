// Package inventory reads hosts, their groups and their settings from files: plain lists, Ansible
// inventories (INI, YAML, folders, executables) and ClusterShell groups. [Load] says how it tells
// the formats apart.
//
//	inv, err := inventory.Load("/etc/ansible/hosts", fleetssh.HostConfig{User: "deploy"})
//	if err != nil {
//		return err
//	}
//	hosts, err := inv.Select("@web!web3") // a host set: see package hostset
//	if err != nil {
//		return err
//	}
//	fleet := &fleetssh.ParallelClient{Hosts: hosts}
//
// The example "Fleet" also reads an ssh_config, which gives settings that the inventory does not
// give: see package sshconfig.
//
// # Settings
//
// Each host is a copy of a base configuration on which the settings of the files are put. In a
// plain list these are the settings of [ParseHosts]. In an Ansible inventory they are these
// variables:
//
//	ansible_host, ansible_port, ansible_user             also with ansible_ssh_
//	ansible_private_key_file, ansible_ssh_private_key_file
//	ansible_password, ansible_ssh_pass, ansible_ssh_password
//	ansible_timeout, ansible_ssh_timeout                 seconds to connect
//	ansible_connection                                   ssh, smart or paramiko; others are errors
//	ansible_host_key_checking, ansible_ssh_host_key_checking
//	ansible_ssh_args, ansible_ssh_common_args, ansible_ssh_extra_args
//	ansible_become_password                              see [Inventory.BecomePassword]
//
// A key file is offered first, not exclusively, as by ssh: see Identities of [fleetssh.Auth].
//
// Variables have Ansible's precedence, from the lowest to the highest: the variables of "all", of
// other groups (from the outermost to the innermost, then by ansible_group_priority and name), the
// files in group_vars in the same order, the variables of the host, and the files in host_vars.
//
// Nothing is evaluated: a template in one of these variables is an error, and so is a value that
// ansible-vault has encrypted. Such errors occur when the host is selected, so that other hosts can
// still be used.
//
// # Conditions
//
// [Inventory.Where] chooses hosts by any of their variables: see [ParseCondition].
//
// # Arguments of ssh
//
// Of the arguments of ssh, -J, -i, -l, -p, -F, -A, -a, -K, -k, -4, -6, and -o with any keyword of
// ssh_config(5) mean what they mean to ssh. [Inventory.Unsupported] returns the keywords that have
// no effect. Options that concern only speed, messages, terminals and shared connections are
// skipped (-C, -q, -T, Compression, LogLevel, BatchMode, ControlMaster, ControlPath,
// ControlPersist). All other options are errors.
package inventory
