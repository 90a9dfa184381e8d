#!/bin/sh
# Redirects the plain HTTP calls of a whole pod (or machine, or network namespace) to its sidecar, so that no program needs a
# proxy variable or another base URL. Run it once as root, in an init container with NET_ADMIN, before the service starts:
#
#   HOLDLINE_UID=1337 HOLDLINE_PORTS=80,8080 sh intercept.sh
#
#   HOLDLINE_UID    the user that the sidecar, and nobody else, runs as; its traffic is left alone
#   HOLDLINE_PORTS  ports that plain HTTP is spoken to (15 at most); default 80
#   HOLDLINE_PORT   the port of outbound.listen, on 127.0.0.1; default 4000
#
# Only name ports of plain HTTP: the sidecar cannot pass on TLS, a database's protocol or its own broker's that arrives like this.
# Calls within the machine (127.0.0.0/8) are left alone. Running it again changes the ports.
set -eu

uid=${HOLDLINE_UID:?the user id that the sidecar runs as}
ports=${HOLDLINE_PORTS:-80}
port=${HOLDLINE_PORT:-4000}

iptables -t nat -N HOLDLINE 2>/dev/null || iptables -t nat -F HOLDLINE
iptables -t nat -A HOLDLINE -m owner --uid-owner "$uid" -j RETURN
iptables -t nat -A HOLDLINE -d 127.0.0.0/8 -j RETURN
iptables -t nat -A HOLDLINE -p tcp -m multiport --dports "$ports" -j REDIRECT --to-ports "$port"
iptables -t nat -C OUTPUT -p tcp -j HOLDLINE 2>/dev/null || iptables -t nat -A OUTPUT -p tcp -j HOLDLINE

# The sidecar listens on IPv4. What would get past it by IPv6 is refused, and clients then take the IPv4 address.
if ip6tables -t filter -L OUTPUT >/dev/null 2>&1; then
  ip6tables -N HOLDLINE 2>/dev/null || ip6tables -F HOLDLINE
  ip6tables -A HOLDLINE -m owner --uid-owner "$uid" -j RETURN
  ip6tables -A HOLDLINE -d ::1/128 -j RETURN
  ip6tables -A HOLDLINE -p tcp -m multiport --dports "$ports" -j REJECT --reject-with tcp-reset
  ip6tables -C OUTPUT -p tcp -j HOLDLINE 2>/dev/null || ip6tables -A OUTPUT -p tcp -j HOLDLINE
fi
