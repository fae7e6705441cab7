"""TensorFlow Lite: conversion, int8 and metadata."""
