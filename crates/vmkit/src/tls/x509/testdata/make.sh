#!/bin/sh
# Makes the certificates of this folder: shapes that rcgen cannot make. Needs OpenSSL 3.0 (later ones make X.509 v3
# where 3.0 makes v1). Run once; the results are committed and valid for a hundred years.
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
days="-days 36500"
ec() { openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"; }
rsa() { openssl genrsa -traditional -out "$work/$1.key" "$2"; }
root() { openssl req -x509 -new -key "$work/$1.key" -out "$1.crt" $days -subj "/CN=$1" ${2:+-sha256 $2 $3}; }
# sign NAME ISSUER EXTENSIONS [OPTIONS]: a certificate of NAME's key; without extensions it is X.509 v1.
sign() {
  name=$1 issuer=$2 ext=$3; shift 3
  openssl req -new -key "$work/$name.key" -out "$work/$name.csr" -subj "/CN=$name"
  printf '%b' "$ext" > "$work/ext"
  openssl x509 -req -in "$work/$name.csr" -CA "$issuer.crt" -CAkey "$work/$issuer.key" -CAcreateserial -CAserial "$work/serial" \
    -out "$name.crt" $days ${ext:+-extfile "$work/ext"} "$@"
}
san='subjectAltName=DNS:web.test\n'
ca='basicConstraints=critical,CA:TRUE\n'

ec root; root root
ec v1-root
openssl req -new -key "$work/v1-root.key" -out "$work/v1-root.csr" -subj /CN=v1-root
openssl x509 -req -in "$work/v1-root.csr" -signkey "$work/v1-root.key" -out v1-root.crt $days
ec below-v1-root; sign below-v1-root v1-root "$san"
ec v1-leaf; sign v1-leaf root ''
ec v1-intermediate; sign v1-intermediate root ''
ec below-v1-intermediate; sign below-v1-intermediate v1-intermediate "$san"
ec sha1; sign sha1 root "$san" -sha1
rsa rsa-root 2048; root rsa-root
ec md5; sign md5 rsa-root "$san" -md5
ec pss; sign pss rsa-root "$san" -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
rsa rsa1024-root 1024; root rsa1024-root
ec below-rsa1024; sign below-rsa1024 rsa1024-root "$san" -sha256
ec below-rsa1024-sha512; sign below-rsa1024-sha512 rsa1024-root "$san" -sha512
rsa rsa1000-root 1000; root rsa1000-root
ec below-rsa1000; sign below-rsa1000 rsa1000-root "$san" -sha256
rsa rsa1024-leaf 1024; sign rsa1024-leaf root "$san"
rsa rsa1536-leaf 1536; sign rsa1536-leaf root "$san"
rsa rsa2048-v1-leaf 2048; sign rsa2048-v1-leaf root ''
cp "$work/v1-leaf.key" "$work/rsa1024-leaf.key" "$work/rsa1536-leaf.key" "$work/rsa2048-v1-leaf.key" .
openssl pkey -in "$work/v1-leaf.key" -aes128 -passout pass:secret -out encrypted.key
rm -r "$work"
