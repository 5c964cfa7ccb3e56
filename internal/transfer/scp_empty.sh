# Prints for each file whether it has content: "more" or "empty". The size says nothing for files
# of the kernel.
for f; do
	if [ -n "$(head -c 1 <"$f" | od -An -tx1)" ]; then echo more; else echo empty; fi
done 2>/dev/null
