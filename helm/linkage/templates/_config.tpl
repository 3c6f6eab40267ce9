{{/*
The roles' configuration files. Strings are written as JSON strings, whose escapes TOML has as well. Where a path leads is
decided in _pod.tpl; no secret is in here.
*/}}

{{- define "linkage.config.common" }}
[agreement]
agreement = "/etc/linkage/agreement/convention.toml"
signatures = "/etc/linkage/agreement/convention.signatures.toml"
terminations = "/etc/linkage/terminations"

[tls]
ca = "/etc/linkage/tls/ca.crt"
certificate = "/etc/linkage/tls/tls.crt"
key = "/etc/linkage/tls/tls.key"

[ops]
listen = {{ printf "%s:9464" .root.Values.listenAddress | toJson }}
{{ if include "linkage.shared" . }}
[audit]
dir = "/var/lib/linkage-audit"
{{ end }}
{{- with (index .root.Values .role).limits }}
[limits]
{{- range $name, $value := . }}
{{ $name }} = {{ int64 $value }}
{{- end }}
{{ end }}
{{- end -}}

{{- define "linkage.config.key" }}
[{{ .name }}]
file = {{ printf "/etc/linkage/keys/%s" .file | toJson }}
{{ end -}}

{{- define "linkage.config.database" }}
{{- with (index .root.Values .role).database }}
{{- if .existingSecret }}
[database]
connections = {{ int64 .connections }}
url = { file = "/etc/linkage/database/url" }
{{ end }}
{{- end }}
{{- end -}}

{{- define "linkage.config.node" -}}
{{- $v := .root.Values.node -}}
party = {{ $v.party | toJson }}
state_dir = "/var/lib/linkage/state"
{{- if $v.inbox.enabled }}
inbox_dir = "/var/lib/linkage-inbox"
{{- end }}
{{- if kindIs "slice" $v.attributes }}
attributes = {{ $v.attributes | toJson }}
{{- end }}
{{- if or $v.mapping.text $v.mapping.existingConfigMap }}
mapping = "/etc/linkage/config/correspondance.toml"
{{- end }}
{{- if or $v.passSet.text $v.passSet.existingConfigMap }}
pass_set = "/etc/linkage/config/passes.toml"
{{- end }}
{{- if or $v.clkSchema.text $v.clkSchema.existingConfigMap }}
clk_schema = "/etc/linkage/config/clk-schema.json"
{{- end }}
{{- if $v.keys.clkSecret }}
clk_secret = "/etc/linkage/keys/clkhash.secret"
{{- end }}
{{- if $v.lineFile }}
line_file = true
{{- end }}
checkpoint_minutes = {{ int64 $v.checkpointMinutes }}
broker_url = {{ include "linkage.url" (merge (dict "of" "broker") .) | toJson }}
custodian_url = {{ include "linkage.url" (merge (dict "of" "custodian") .) | toJson }}
{{ include "linkage.config.common" . }}
{{- with include "linkage.analystUrls" .root | fromJson }}
[analyst_urls]
{{- range $id, $url := . }}
{{ $id | toJson }} = {{ $url | toJson }}
{{- end }}
{{ end }}
{{- include "linkage.config.key" (dict "name" "storage_key" "file" "storage.key") }}
{{- include "linkage.config.key" (dict "name" "signing_key" "file" "signing.key") }}
{{- include "linkage.config.key" (dict "name" "sealing_key" "file" "sealing.key") }}
{{- if $v.keys.groupContribution }}
{{- include "linkage.config.key" (dict "name" "group_contribution" "file" "contribution.key") }}
{{- end }}
{{- if $v.keys.hashKeysKey }}
{{- include "linkage.config.key" (dict "name" "hash_keys_key" "file" "hash-keys.key") }}
{{- end }}
{{- end -}}

{{- define "linkage.config.custodian" -}}
{{- $v := .root.Values.custodian -}}
listen = {{ printf "%s:8443" .root.Values.listenAddress | toJson }}
data_dir = "/var/lib/linkage/data"
{{- if $v.tls.crlConfigMap.name }}
crl = "/etc/linkage/tls/ca.crl"
{{- end }}
{{ include "linkage.config.common" . }}
{{- include "linkage.config.database" . }}
{{- include "linkage.config.key" (dict "name" "oprf_key" "file" "oprf.key") }}
{{- include "linkage.config.key" (dict "name" "pseudonym_key" "file" "pseudonym.key") }}
{{- include "linkage.config.key" (dict "name" "signing_key" "file" "signing.key") }}
{{- end -}}

{{- define "linkage.config.broker" -}}
{{- $v := .root.Values.broker -}}
listen = {{ printf "%s:8443" .root.Values.listenAddress | toJson }}
data_dir = "/var/lib/linkage/data"
custodian_url = {{ include "linkage.url" (merge (dict "of" "custodian") .) | toJson }}
memory_mib = {{ int64 $v.memoryMib }}
{{- if $v.tls.crlConfigMap.name }}
crl = "/etc/linkage/tls/ca.crl"
{{- end }}
{{ include "linkage.config.common" . }}
{{- include "linkage.config.database" . }}
{{- with $v.objects }}
{{- if .bucket }}
[objects]
endpoint = {{ .endpoint | toJson }}
bucket = {{ .bucket | toJson }}
region = {{ .region | toJson }}
{{- if .prefix }}
prefix = {{ .prefix | toJson }}
{{- end }}
authority = "/etc/linkage/objects-ca/ca.crt"
access_key = { file = "/etc/linkage/objects/access-key" }
secret_key = { file = "/etc/linkage/objects/secret-key" }
{{ end }}
{{- end }}
{{- include "linkage.config.key" (dict "name" "signing_key" "file" "signing.key") }}
{{- end -}}

{{- define "linkage.config.analyst" -}}
{{- $v := .root.Values.analyst -}}
analyst = {{ $v.id | toJson }}
listen = {{ printf "%s:8443" .root.Values.listenAddress | toJson }}
data_dir = "/var/lib/linkage/data"
custodian_url = {{ include "linkage.url" (merge (dict "of" "custodian") .) | toJson }}
{{- if $v.tls.crlConfigMap.name }}
crl = "/etc/linkage/tls/ca.crl"
{{- end }}
{{ include "linkage.config.common" . }}
{{- include "linkage.config.database" . }}
{{- with $v.page }}
{{- if .enabled }}
[page]
listen = {{ printf "%s:8444" $.root.Values.listenAddress | toJson }}
public_url = {{ .publicUrl | toJson }}
certificates = {{ .certificates }}
certificates_manage = {{ .certificatesManage }}
{{- if .brokerUrl }}
broker_url = {{ .brokerUrl | toJson }}
{{- else if $.root.Values.broker.enabled }}
broker_url = {{ include "linkage.innerUrl" (merge (dict "of" "broker") $) | toJson }}
{{- end }}
idle_minutes = {{ int64 .idleMinutes }}
session_hours = {{ int64 .sessionHours }}
{{- if or .tls.existingSecret .tls.certManager.enabled }}

[page.tls]
ca = "/etc/linkage/page-tls/ca.crt"
certificate = "/etc/linkage/page-tls/tls.crt"
key = "/etc/linkage/page-tls/tls.key"
{{- end }}
{{- with .oidc }}
{{- if .enabled }}

[page.oidc]
issuer = {{ .issuer | toJson }}
client_id = {{ .clientId | toJson }}
{{- if .clientSecretName }}
client_secret_file = "/etc/linkage/oidc/client-secret"
{{- end }}
{{- if .audience }}
audience = {{ .audience | toJson }}
{{- end }}
ca = "/etc/linkage/oidc-ca/ca.crt"
roles_claim = {{ .rolesClaim | toJson }}
{{- if .cohortsRole }}
cohorts_role = {{ .cohortsRole | toJson }}
{{- end }}
{{- if .rowLevelRole }}
row_level_role = {{ .rowLevelRole | toJson }}
{{- end }}
{{- if .usersRole }}
users_role = {{ .usersRole | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{ end }}
{{- end }}
{{- include "linkage.config.key" (dict "name" "sealing_key" "file" "sealing.key") }}
{{- include "linkage.config.key" (dict "name" "pseudonym_key" "file" "pseudonym.key") }}
{{- include "linkage.config.key" (dict "name" "signing_key" "file" "signing.key") }}
{{- end -}}
