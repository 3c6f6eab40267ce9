{{/*
What values.schema.json cannot say because it joins two values. Each message begins with the value's name. The schema has been
checked before: types and formats hold here.
*/}}

{{- define "linkage.checks" -}}
{{- $enabled := 0 -}}
{{- range $role := splitList " " (include "linkage.roles" .) -}}
{{- $v := index $.Values $role -}}
{{- if $v.enabled -}}
{{- $enabled = add1 $enabled -}}
{{- include "linkage.checks.role" (dict "root" $ "role" $role "v" $v) -}}
{{- end -}}
{{- end -}}
{{- if not $enabled -}}
{{- include "linkage.refuse" "node.enabled, custodian.enabled, broker.enabled, analyst.enabled : aucun rôle n'est activé ; mettez-en un à true" -}}
{{- end -}}
{{- with .Values.agreement -}}
{{- if and .existingConfigMap (or .text .signatures) -}}
{{- include "linkage.refuse" "agreement.existingConfigMap et agreement.text : donnez l'une ou l'autre" -}}
{{- end -}}
{{- end -}}
{{- if .Values.analyst.enabled -}}{{- include "linkage.checks.page" . -}}{{- end -}}
{{- end -}}

{{- define "linkage.checks.role" -}}
{{- $role := .role -}}{{- $v := .v -}}{{- $all := .root.Values -}}
{{- range $part := list "keys" "tls" -}}
{{- $p := index $v $part -}}
{{- $sources := list -}}
{{- if $p.existingSecret -}}{{- $sources = append $sources "existingSecret" -}}{{- end -}}
{{- if $p.externalSecret.enabled -}}{{- $sources = append $sources "externalSecret.enabled" -}}{{- end -}}
{{- if and (eq $part "tls") $v.tls.certManager.enabled -}}{{- $sources = append $sources "certManager.enabled" -}}{{- end -}}
{{- if gt (len $sources) 1 -}}
{{- include "linkage.refuse" (printf "%s.%s : une seule source est possible, pas %s ensemble" $role $part (join " et " $sources)) -}}
{{- end -}}
{{- end -}}
{{- /* Who is called must be in this installation or at an address. */ -}}
{{- range $of := (dict "node" (list "broker" "custodian") "broker" (list "custodian") "analyst" (list "custodian") "custodian" list | dig $role list) -}}
{{- $name := printf "%sUrl" $of -}}
{{- if not (or (get $v $name) (index $all $of).enabled) -}}
{{- include "linkage.refuse" (printf "%s.%s : une adresse https://hôte:port est attendue, car cette installation ne contient pas ce rôle" $role $name) -}}
{{- end -}}
{{- if and (get $v $name) $all.networkPolicy.enabled -}}
{{- include "linkage.checks.end" (dict "end" (index $all.networkPolicy.to $of) "name" (printf "networkPolicy.to.%s" $of) "why" (printf "%s.%s y mène" $role $name)) -}}
{{- end -}}
{{- end -}}
{{- if $all.networkPolicy.enabled -}}
{{- if or (and (eq $role "custodian") (not (or $all.node.enabled $all.broker.enabled $all.analyst.enabled))) (and (eq $role "broker") (not $all.node.enabled)) -}}
{{- include "linkage.checks.end" (dict "end" (index $all.networkPolicy.from $role) "name" (printf "networkPolicy.from.%s" $role) "why" "personne, sinon, ne pourrait appeler ce rôle") -}}
{{- end -}}
{{- if $all.monitoring.serviceMonitor.enabled -}}
{{- include "linkage.checks.end" (dict "end" $all.networkPolicy.from.monitoring "name" "networkPolicy.from.monitoring" "why" "monitoring.serviceMonitor.enabled le demande") -}}
{{- end -}}
{{- if $all.telemetry.otlpEndpoint -}}
{{- include "linkage.checks.end" (dict "end" $all.networkPolicy.to.telemetry "name" "networkPolicy.to.telemetry" "why" "telemetry.otlpEndpoint y mène") -}}
{{- end -}}
{{- if and (eq $role "node") $v.analystUrls -}}
{{- include "linkage.checks.end" (dict "end" $all.networkPolicy.to.analyst "name" "networkPolicy.to.analyst" "why" "node.analystUrls y mène") -}}
{{- end -}}
{{- if and (hasKey $v "database") $v.database.existingSecret -}}
{{- include "linkage.checks.end" (dict "end" $all.networkPolicy.to.database "name" "networkPolicy.to.database" "why" (printf "%s.database.existingSecret le demande" $role)) -}}
{{- end -}}
{{- if and (eq $role "broker") $v.objects.bucket -}}
{{- include "linkage.checks.end" (dict "end" $all.networkPolicy.to.objects "name" "networkPolicy.to.objects" "why" "broker.objects.bucket le demande") -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $v "replicas") (gt (int $v.replicas) 1) (not (include "linkage.shared" .)) -}}
{{- include "linkage.refuse" (printf "%s.replicas : %d exemplaires demandent %s.database.existingSecret%s, que tous partagent" $role (int $v.replicas) $role (ternary " et broker.objects.bucket" "" (eq $role "broker"))) -}}
{{- end -}}
{{- if and (hasKey $v "database") (not (kindIs "invalid" $v.database.revertTo)) (not $v.database.existingSecret) (not (hasKey $v "persistence")) -}}
{{- include "linkage.refuse" (printf "%s.database.revertTo : ce rôle n'a pas de base" $role) -}}
{{- end -}}
{{- if eq $role "broker" -}}
{{- $limit := include "linkage.mebibytes" (dig "limits" "memory" "" $v.resources | toString) -}}
{{- if and $limit (lt (int64 $limit) (add (int64 $v.memoryMib) 512)) -}}
{{- include "linkage.refuse" (printf "broker.memoryMib : %d Mio et 512 Mio pour le reste dépassent broker.resources.limits.memory (%s)" (int64 $v.memoryMib) $v.resources.limits.memory) -}}
{{- end -}}
{{- end -}}
{{- $grace := add 10 (dig "limits" "shutdown_grace_s" 10 $v | int64) -}}
{{- if lt (int64 $v.terminationGracePeriodSeconds) (int64 $grace) -}}
{{- include "linkage.refuse" (printf "%s.terminationGracePeriodSeconds : au moins %d secondes, pour que les demandes en cours finissent" $role $grace) -}}
{{- end -}}
{{- end -}}

{{- define "linkage.checks.page" -}}
{{- with .Values.analyst.page -}}
{{- if .enabled -}}
{{- if not (or .certificates .oidc.enabled) -}}
{{- include "linkage.refuse" "analyst.page.certificates et analyst.page.oidc.enabled : aucun moyen d'entrer ; gardez l'un des deux" -}}
{{- end -}}
{{- if and .tls.existingSecret .tls.certManager.enabled -}}
{{- include "linkage.refuse" "analyst.page.tls : une seule source est possible, pas existingSecret et certManager.enabled ensemble" -}}
{{- end -}}
{{- if $.Values.networkPolicy.enabled -}}
{{- include "linkage.checks.end" (dict "end" $.Values.networkPolicy.from.page "name" "networkPolicy.from.page" "why" "personne, sinon, ne pourrait ouvrir la page") -}}
{{- if .oidc.enabled -}}
{{- include "linkage.checks.end" (dict "end" $.Values.networkPolicy.to.oidc "name" "networkPolicy.to.oidc" "why" "analyst.page.oidc.enabled le demande") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "linkage.checks.end" -}}
{{- if not (or .end.cidrs .end.namespaceLabels .end.podLabels) -}}
{{- include "linkage.refuse" (printf "%s : donnez cidrs, ou namespaceLabels et podLabels : %s" .name .why) -}}
{{- end -}}
{{- end -}}

{{/*
Ends the rendering with a message. `helm lint` only notes what `fail` says, and goes on; a template of that name is not there, which
ends it there as well, and Helm quotes the name.
*/}}
{{- define "linkage.refuse" -}}
{{- fail . -}}
{{- include . dict -}}
{{- end -}}

{{/* A quantity in Mi or Gi as mebibytes; nothing for other units. */}}
{{- define "linkage.mebibytes" -}}
{{- if regexMatch "^[0-9]+Mi$" . -}}
{{- trimSuffix "Mi" . -}}
{{- else if regexMatch "^[0-9]+Gi$" . -}}
{{- mul 1024 (trimSuffix "Gi" . | int64) -}}
{{- end -}}
{{- end -}}
