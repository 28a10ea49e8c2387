"""Where does a network look? Suspected regions found in heat maps, and each tested by carrying it to other pictures."""
