"""A recorder in plain POSIX shell, for devices where Python is not; its text is imported."""

SCRIPT = """\
#!/bin/sh
# Records a machine's page allocations through tracefs; needs root, a POSIX shell, cat, sed, mount.
# Printed by: potadlab record --script.
#   sh record.sh OUT 30              for 30 seconds
#   sh record.sh OUT make -j2        while a command runs
# Then, where potadlab is:
#   potadlab import OUT.txt NAME.parquet
#   potadlab import OUT.before.kpageflags NAME.before.parquet     (the memory at the start)
# STACKS=1 before the command records the kernel's call stacks too.  BUFFER_KB: of each CPU.
set -u
fail() { echo "record.sh: $*" >&2; exit 1; }
[ $# -ge 2 ] || fail "say: sh record.sh OUT SECONDS, or: sh record.sh OUT COMMAND..."
out=$1; shift
tracing=
for place in /sys/kernel/tracing /sys/kernel/debug/tracing; do
  [ -d $place/instances ] || mount -t tracefs tracefs $place 2>/dev/null
  if [ -d $place/instances ]; then tracing=$place; break; fi
done
[ -n "$tracing" ] || fail "no tracefs: be root, on a kernel with CONFIG_FTRACE"
for old in $tracing/instances/potadlab.script.*; do  # of runs that were killed
  pid=${old##*.}
  if [ -d "$old" ] && [ ! -d /proc/$pid ]; then rmdir "$old"; fi
done
case $1 in
  *[!0-9]*) command -v "$1" >/dev/null || fail "$1: no such command" ;;
esac
# told now, and not after the recording
(: > "$out.txt.part") 2>/dev/null || fail "$out.txt.part cannot be written: choose another OUT"
mine=$tracing/instances/potadlab.script.$$
mkdir $mine || { rm -f "$out.txt.part"; fail "$mine cannot be made: be root"; }
trap 'echo 0 > $mine/tracing_on; rmdir $mine; rm -f "$out.txt.part"' EXIT
trap 'exit 130' INT TERM HUP
[ -d $mine/events/kmem/mm_page_alloc ] || fail "no event kmem:mm_page_alloc in this kernel"
cpus=0
for cpu in $mine/per_cpu/cpu*; do cpus=$((cpus + 1)); done
free_kb=65536
while read -r name kb unit; do
  case $name in MemAvailable:|MemFree:) free_kb=$kb ;; esac
  [ "$name" = MemAvailable: ] && break
done < /proc/meminfo
buffer_kb=${BUFFER_KB:-$((free_kb / 16 / cpus))}
[ $buffer_kb -le 262144 ] || buffer_kb=262144
echo 0 > $mine/tracing_on
echo mono > $mine/trace_clock || echo global > $mine/trace_clock
echo 0 > $mine/options/overwrite
echo $buffer_kb > $mine/buffer_size_kb || fail "no room for $buffer_kb KiB: set BUFFER_KB"
[ -z "${STACKS:-}" ] || echo stacktrace > $mine/events/kmem/mm_page_alloc/trigger
for event in kmem/mm_page_alloc kmem/mm_page_free cma/cma_alloc_finish cma/cma_release; do
  [ ! -d $mine/events/$event ] || echo 1 > $mine/events/$event/enable
done
cat /proc/kpageflags > "$out.before.kpageflags" 2>/dev/null || rm -f "$out.before.kpageflags"
echo 1 > $mine/tracing_on
code=0
trap : INT  # Ctrl-C ends the wait, and what was recorded is written
case $1 in
  *[!0-9]*) "$@" || code=$? ;;
  *) sleep "$1" || : ;;
esac
trap 'exit 130' INT
echo 0 > $mine/tracing_on
# names and numbers of processes are nobody's business
sed 's/^ *[^ #].*-[0-9][0-9]* .*\\[\\([0-9]*\\)\\] /task-0 [\\1] /' $mine/trace > "$out.txt.part" \\
  || fail "$out.txt.part cannot be written: is the disk full?"
lost=0
for cpu in $mine/per_cpu/cpu*; do
  while IFS=: read -r name count; do
    case $name in
      overrun|"commit overrun"|"dropped events") lost=$((lost + count)) ;;
    esac
  done < $cpu/stats
done
[ $lost -eq 0 ] || echo "CPU:0 [LOST $lost EVENTS]" >> "$out.txt.part"
mv "$out.txt.part" "$out.txt"
echo "$out.txt: recorded; $lost events lost" >&2
exit $code
"""
