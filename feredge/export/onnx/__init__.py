"""ONNX and onnxruntime's own format: conversion and int8."""
