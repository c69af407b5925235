// For the CustomResourceDefinitions that are in it; nothing of it is built.
module humanizer.test/prometheus

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
