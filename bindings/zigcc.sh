#!/bin/sh
# Compiles C and links for glibc 2.17 (manylinux2014), however new this machine's is: zig knows the
# symbols of every version, and maturin knows what zig does not take from rustc. One program for all
# packages, named in the Makefile: cargo builds afresh what another linker would link.
PATH="$(dirname "$0")/python/.venv/bin:$PATH"
exec maturin zig cc -- -g -fno-sanitize=all -target "$(uname -m)-linux-gnu.2.17" "$@"
